import * as tf from "@tensorflow/tfjs";
import { checkTensors } from "./check-tensors.js";
import {
  type CheckpointEntry,
  isMappable,
  type PlacedEntry,
  sameShape,
  sizeOfEntry,
  type WeightFiles,
} from "./checkpoint-entry.js";
import { bytesOf, fromFloat32, isFloat, toFloat32, type DType, type FloatDType } from "./dtype.js";
import { WeightsError } from "./errors.js";
import type { PackedMatrix, Packing, Stored, WeightHolder } from "./holder.js";
import { shown } from "./json.js";
import { channelsFirst } from "./channels-last.js";
import { grouped, takeCompanions } from "./companions.js";
import { isIgnored } from "./names.js";
import type { PackedForm } from "./quantised/packed-form.js";
import { isQuantised, type QuantisedEntry } from "./quantised/quantised-entry.js";
import type { OpenFile } from "./byte-source.js";
import { piecesInOrder, readTensors } from "./staging.js";
import { type OutputHead, settleHead } from "./tied-head.js";

export type { CheckpointEntry } from "./checkpoint-entry.js";

/**
 * Bytes of a mapped file brought into memory at once, and how many pieces or matrices are worked on at the same time.
 */
const MAPPED_CHUNK = 64 * 2 ** 20;
const LANES = 2;

/** Where an entry, or the codes of a packed one, can be mapped from. */
const placeOf = (entry: CheckpointEntry): PlacedEntry | null => {
  const place = isQuantised(entry) ? entry.codes : entry;
  return isMappable(place) ? place : null;
};

/** Runs work in order, `LANES` at a time. */
async function inLanes(work: readonly (() => Promise<void>)[]): Promise<void> {
  const left = [...work];
  const lane = async (): Promise<void> => {
    for (let next = left.shift(); next; next = left.shift()) await next();
  };
  await Promise.all(Array.from({ length: LANES }, lane));
}

type MappedEntry = { file: OpenFile; entry: PlacedEntry };

/** A type of number in a file, or a packed form. */
export type StoredForm = DType | PackedForm;

/** The part of a checkpoint below one name. */
export interface WeightScope {
  /** The part below `path`, which is joined with a dot. */
  at(path: string): WeightScope;
  /** `Checkpoint.get` of the name below this part. */
  get(name: string, shape: number[]): tf.Tensor;
  /** `Checkpoint.matrix` of the name below this part. */
  matrix(name: string, shape: number[]): tf.Tensor;
}

/** How a checkpoint is opened. */
export type CheckpointOptions = {
  /**
   * Keeps matrices in the form of the file, mapped where they lie so in a file on disk; closed by `close`. Default
   * null: all is widened.
   */
  holder?: WeightHolder | null | undefined;
  /** Whether the config ties the output head to the token table (`tie_word_embeddings`). Default true. */
  tied?: boolean | undefined;
  /**
   * Whether a head beside a table that it is tied to is compared with it, byte by byte; false reads headers only.
   * Default true.
   */
  compareHead?: boolean | undefined;
};

/**
 * The weights of one model folder, by canonical name (names.ts). Order of use: `openWeights`, `check`, then for each
 * part of the model `stage` (reads its bytes) and `get` (hands each tensor out once), at the end `unread` and `close`.
 */
export class Checkpoint {
  /**
   * Tensors by canonical name. Not in it: ignored tensors, what a larger model has beside the PaliGemma, and a head
   * that is the token table.
   */
  readonly entries: ReadonlyMap<string, CheckpointEntry>;
  /** Bytes of `entries` by type, or by the form that they are packed in. */
  readonly bytesByForm: ReadonlyMap<StoredForm, number>;
  /** Weights in `entries`. */
  readonly numbers: number;
  /** Bytes of `entries`. */
  readonly totalBytes: number;
  /**
   * Bytes of those of `entries` that lie in a file on disk as the model reads them: a holder of the stored type maps
   * them.
   */
  readonly mappableBytes: number;

  private readonly staged = new Map<string, Uint8Array>();
  private readonly packed = new Map<string, PackedMatrix>();
  private readonly read = new Set<string>();

  private constructor(
    private readonly name: string,
    private readonly files: WeightFiles,
    entries: Map<string, CheckpointEntry>,
    /** What the output head is. */
    readonly head: OutputHead,
    /** What whoever loads it should know: sentences that name the folder. */
    readonly notices: readonly string[],
    private readonly holder: WeightHolder | null,
  ) {
    this.entries = entries;
    const byForm = new Map<StoredForm, number>();
    for (const entry of entries.values()) {
      const [form, bytes] = isQuantised(entry) ? [entry.form, entry.packedBytes] : [entry.dtype, sizeOfEntry(entry)];
      byForm.set(form, (byForm.get(form) ?? 0) + bytes);
    }
    this.bytesByForm = byForm;
    this.totalBytes = [...byForm.values()].reduce((sum, bytes) => sum + bytes, 0);
    this.numbers = [...entries.values()].reduce((sum, entry) => sum + sizeOfEntry(entry) / bytesOf(entry.dtype), 0);
    const onDisk = (place: PlacedEntry): boolean => files.sources.get(place.file)?.file !== undefined;
    const inFile = [...entries.values()].flatMap((entry) => placeOf(entry) ?? []).filter(onDisk);
    this.mappableBytes = inFile.reduce((sum, { start, end }) => sum + end - start, 0);
  }

  /**
   * The weights of open files, which it closes; the output head is read where it must be compared (`settleHead`).
   * `name` is the folder's. Throws `WeightsError` where two names are one tensor, and closes the files then.
   */
  static async of(name: string, files: WeightFiles, options: CheckpointOptions = {}): Promise<Checkpoint> {
    const { holder = null, tied = true, compareHead = true } = options;
    try {
      const entries = new Map([...files.entries].filter(([name]) => !isIgnored(name)));
      const others = takeCompanions(entries);
      channelsFirst(entries, files.sources);
      const head = await settleHead(entries, { tied, sources: compareHead ? files.sources : null });
      const notices = [...(files.notices ?? []), ...noticesOf(name, others, tied && head === "own")];
      return new Checkpoint(name, files, entries, head, notices, holder);
    } catch (error) {
      await files.close();
      throw error;
    }
  }

  /**
   * Compares names, shapes and types with what the model needs: canonical name -> shape. Throws one `WeightsError` that
   * lists missing, unexpected and misshapen tensors and those that are no F32, F16 or BF16.
   */
  check(expected: ReadonlyMap<string, readonly number[]>): void {
    checkTensors(this.entries, expected, this.name);
  }

  /**
   * Reads every tensor at or below the dotted path `prefix` ("" for all) into memory, for `get`; what is staged already
   * stays. `onBytes` hears the bytes of each piece read. Throws `WeightsError` when nothing is there and on read
   * errors.
   */
  async stage(prefix: string, onBytes: (bytes: number) => void = () => {}): Promise<void> {
    const below = [...this.entries].filter(
      ([name]) => prefix === "" || name === prefix || name.startsWith(`${prefix}.`),
    );
    if (below.length === 0)
      throw new WeightsError(`${this.name}: there is no tensor at or below ${shown(prefix)} to stage`);
    const fresh = below.filter(([name]) => !this.staged.has(name) && !this.packed.has(name));
    const rest: [string, CheckpointEntry][] = [];
    const packing: (() => Promise<void>)[] = [];
    for (const [name, entry] of fresh) {
      const pack = this.packer(name, entry, onBytes);
      if (pack) packing.push(pack);
      else rest.push([name, entry]);
    }
    await inLanes(packing);
    const mapped = rest.flatMap(([, entry]) => this.mapped(entry) ?? []);
    await this.prefault(mapped, onBytes);
    const wanted = rest.filter(([, entry]) => this.mapped(entry) === null);
    await readTensors(wanted, this.files.sources, this.staged, onBytes);
  }

  /** What brings a tensor into `packed`, or null where it is not to be held in 8 or 4 bit. */
  private packer(name: string, entry: CheckpointEntry, onBytes: (bytes: number) => void): (() => Promise<void>) | null {
    const packing = this.holder?.packing;
    if (!packing) return null;
    if (isQuantised(entry)) {
      if (this.holder!.dtype !== null) return null; // unpacked into that type
      return async () => void this.packed.set(name, await this.taken(entry, packing, onBytes));
    }
    const form = packing.formOf(name, entry.shape);
    if (form === null || !isFloat(entry.dtype)) return null;
    const dtype = entry.dtype;
    return async () => {
      // What is mapped comes into memory as it is packed, and leaves again.
      const place = this.inFile(entry);
      const stored = place ? { file: place.file, start: place.entry.start } : await this.stored(entry, onBytes);
      this.packed.set(name, await packing.pack(stored, dtype, entry.shape, form));
      if (place) onBytes(sizeOfEntry(entry));
    };
  }

  private async taken(
    entry: QuantisedEntry,
    packing: Packing,
    onBytes: (bytes: number) => void,
  ): Promise<PackedMatrix> {
    const { codes, shape, form } = entry;
    const stored = await this.stored(codes, onBytes);
    const tables = await entry.tables();
    onBytes(entry.packedBytes - (codes.end - codes.start));
    return packing.take(stored, tables, shape, form);
  }

  /** Where a tensor's bytes are mapped from, in whatever type; null where they must be read. */
  private inFile(entry: CheckpointEntry): MappedEntry | null {
    if (!this.holder?.maps || !isMappable(entry)) return null;
    const file = this.files.sources.get(entry.file)?.file;
    return file ? { file, entry } : null;
  }

  /** Where the bytes of a tensor are, which are in memory then, or the bytes. */
  private async stored(entry: CheckpointEntry, onBytes: (bytes: number) => void): Promise<Stored> {
    const place = this.inFile(entry);
    if (place) {
      await this.prefault([place], onBytes);
      return { file: place.file, start: place.entry.start };
    }
    const read = new Map<string, Uint8Array>();
    await readTensors([["", entry]], this.files.sources, read, onBytes);
    return { bytes: read.get("")! };
  }

  /**
   * Where a tensor is mapped, or null where its bytes must be read: no holder, another type or order, at an odd place,
   * not on disk.
   */
  private mapped(entry: CheckpointEntry): MappedEntry | null {
    if (!isFloat(entry.dtype)) return null;
    const wanted = this.holder?.dtype ?? null;
    return wanted === null || wanted === entry.dtype ? this.inFile(entry) : null;
  }

  private async prefault(mapped: MappedEntry[], onBytes: (bytes: number) => void): Promise<void> {
    const pieces = mapped.flatMap(({ file, entry: { start, end } }) =>
      Array.from({ length: Math.ceil((end - start) / MAPPED_CHUNK) }, (_, i) => {
        const at = start + i * MAPPED_CHUNK;
        return { file, start: at, end: Math.min(at + MAPPED_CHUNK, end) };
      }),
    );
    await inLanes(
      pieces.map(({ file, start, end }) => async () => {
        await this.holder!.prefault(file, start, end);
        onBytes(end - start);
      }),
    );
  }

  /**
   * Hands a staged tensor out as f32 and forgets its bytes; the caller owns the tensor.
   * Throws `WeightsError` for an unknown name, another shape, and a tensor that is not staged.
   */
  get(name: string, shape: readonly number[]): tf.Tensor {
    const entry = this.entryOf(name, shape);
    if (this.packed.has(name))
      throw new WeightsError(`${this.name}: tensor ${name} is packed and no matrix of this model`);
    const mapped = this.mapped(entry);
    if (mapped === null) return tf.tensor(toFloat32(this.takeBytes(name), entry.dtype), [...shape], "float32");
    this.read.add(name);
    return this.holder!.widened(mapped.file, mapped.entry);
  }

  /**
   * `get` of a tensor that is multiplied by: with a holder in the form that its kernels read, else the same as `get`.
   */
  matrix(name: string, shape: readonly number[]): tf.Tensor {
    if (this.holder === null) return this.get(name, shape);
    const entry = this.entryOf(name, shape);
    const packed = this.packed.get(name);
    if (packed) {
      this.packed.delete(name);
      this.read.add(name);
      return this.holder.packing.hold(packed);
    }
    const mapped = this.mapped(entry);
    if (mapped === null) {
      const dtype = this.holder.dtype ?? (entry.dtype as FloatDType);
      const bytes = this.takeBytes(name);
      const converted = dtype === entry.dtype ? bytes : fromFloat32(toFloat32(bytes, entry.dtype), dtype);
      return this.holder.held(converted, dtype, shape);
    }
    this.read.add(name);
    return this.holder.mapped(mapped.file, mapped.entry);
  }

  private entryOf(name: string, shape: readonly number[]): CheckpointEntry {
    const entry = this.entries.get(name);
    if (!entry) throw new WeightsError(`${this.name}: there is no tensor ${name}`);
    if (!sameShape(entry.shape, shape)) {
      throw new WeightsError(`${this.name}: tensor ${name} is [${entry.shape}], the model asks for [${shape}]`);
    }
    return entry;
  }

  private takeBytes(name: string): Uint8Array {
    const bytes = this.staged.get(name);
    if (!bytes) {
      throw new WeightsError(
        `${this.name}: tensor ${name} is not staged; await stage() of its path before get(), once a get()`,
      );
    }
    this.staged.delete(name);
    this.read.add(name);
    return bytes;
  }

  /**
   * A tensor's bytes in the type of its entry, in order and in pieces of whole values; nothing of it is kept. Throws
   * `WeightsError` as `stage`.
   */
  pieces(name: string): AsyncGenerator<Uint8Array> {
    const entry = this.entries.get(name);
    if (!entry) throw new WeightsError(`${this.name}: there is no tensor ${name}`);
    return piecesInOrder(entry, this.files.sources);
  }

  /** The part below `path`, for a layer that knows only its own names. */
  at(path: string): WeightScope {
    return {
      at: (inner) => this.at(`${path}.${inner}`),
      get: (name, shape) => this.get(`${path}.${name}`, shape),
      matrix: (name, shape) => this.matrix(`${path}.${name}`, shape),
    };
  }

  /**
   * Throws `WeightsError` naming a file that tensors handed out lie in and that is not what it was when it was opened;
   * also after `close`.
   */
  get requireIntact(): () => void {
    return this.holder?.requireIntact ?? (() => {});
  }

  /** Canonical names that `get` has not handed out yet. */
  unread(): string[] {
    return [...this.entries.keys()].filter((name) => !this.read.has(name));
  }

  /** Closes the files and frees what is staged; tensors handed out stay. */
  async close(): Promise<void> {
    this.staged.clear();
    this.packed.clear();
    this.holder?.close();
    await this.files.close();
  }
}

function noticesOf(folder: string, others: readonly string[], differs: boolean): string[] {
  const notices: string[] = [];
  if (others.length > 0) {
    notices.push(
      `${folder}: a PaliGemma within a larger model; ${others.length} tensors of the rest were left out: ${grouped(others)}`,
    );
  }
  if (differs) {
    notices.push(
      `${folder}: tie_word_embeddings is true, but lm_head and embed_tokens are both there and differ; the head is used as it is`,
    );
  }
  return notices;
}
