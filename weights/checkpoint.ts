import { readdir } from "node:fs/promises";
import { join } from "node:path";
import * as tf from "@tensorflow/tfjs";
import { allocate } from "./bytes.js";
import { fromFloat32, isFloat, toFloat32, type DType, type FloatDType } from "./dtype.js";
import { WeightsError } from "./errors.js";
import type { WeightHolder } from "./holder.js";
import { shown } from "./json.js";
import { canonicalNames, EMBEDDING, isIgnored, LM_HEAD } from "./names.js";
import { readHeader, type TensorEntry } from "./safetensors.js";
import { INDEX, readShardIndex, type ShardIndex, SINGLE } from "./shard-index.js";
import type { ByteSource, Folder } from "./source.js";

/** Bytes read at once while staging: neighbours are joined up to it and a larger tensor is read in pieces of it, with progress between. */
const CHUNK = 16 * 2 ** 20;
/** Bytes of a mapped file brought into memory at once, and how many such pieces at the same time. */
const MAPPED_CHUNK = 64 * 2 ** 20;
const LANES = 2;
/** Names that one error lists of each kind: enough to see the pattern, short enough to read. */
const LISTED = 20;

/** Weight files of other formats, by their endings and by the names that a folder behind a URL can be asked for. */
const OTHER_ENDINGS = /\.(bin|npz|h5|msgpack|gguf|pt|pth|ckpt|safetensors)$/;
const OTHER_NAMES = ["pytorch_model.bin", "pytorch_model.bin.index.json", "model.weights.h5", "flax_model.msgpack"];

/** One tensor of a checkpoint: `name` as the file spells it, and the file, type, shape and bytes. */
export interface CheckpointEntry extends TensorEntry {
  readonly file: string;
}

/** The part of a checkpoint below one name. */
export interface WeightScope {
  /** The part below `path`, which is joined with a dot. */
  at(path: string): WeightScope;
  /** `Checkpoint.get` of the name below this part. */
  get(name: string, shape: number[]): tf.Tensor;
  /** `Checkpoint.matrix` of the name below this part. */
  matrix(name: string, shape: number[]): tf.Tensor;
}

/**
 * The weights of one model folder, by canonical name (names.ts). Order of use: `open`, `check`, then for each part of the model
 * `stage` (reads its bytes) and `get` (hands each tensor out once), at the end `unread` and `close`.
 */
export class Checkpoint {
  /** Tensors by canonical name. Not in it: ignored tensors, and an lm_head beside the embedding that it is tied to. */
  readonly entries: ReadonlyMap<string, CheckpointEntry>;
  /** Bytes of `entries` by type. */
  readonly bytesByDtype: ReadonlyMap<DType, number>;
  /** Bytes of `entries`. */
  readonly totalBytes: number;

  private readonly staged = new Map<string, Uint8Array>();
  private readonly read = new Set<string>();
  private tied: Promise<void> | undefined;

  private constructor(
    private readonly name: string,
    private readonly sources: ReadonlyMap<string, ByteSource>,
    entries: Map<string, CheckpointEntry>,
    private readonly head: CheckpointEntry | undefined,
    private readonly folder: string | null,
    private readonly holder: WeightHolder | null,
  ) {
    this.entries = entries;
    const byDtype = new Map<DType, number>();
    for (const { dtype, start, end } of entries.values()) byDtype.set(dtype, (byDtype.get(dtype) ?? 0) + end - start);
    this.bytesByDtype = byDtype;
    this.totalBytes = [...byDtype.values()].reduce((sum, bytes) => sum + bytes, 0);
  }

  /**
   * Opens the shards of `model.safetensors.index.json`, or else `model.safetensors`, and reads their headers. With a `holder`
   * (closed by `close`) matrices stay in the form of the file, mapped where the folder is on disk; without one all is widened.
   * Throws `WeightsError` when neither is there, for a header or index that lies, and where two names are one tensor.
   */
  static async open(folder: Folder, holder: WeightHolder | null = null): Promise<Checkpoint> {
    const sources = new Map<string, ByteSource>();
    try {
      const tensors = await readTensors(folder, sources);
      const entries = new Map<string, CheckpointEntry>();
      for (const [canonical, name] of canonicalNames(tensors.keys(), folder.name)) {
        if (!isIgnored(canonical)) entries.set(canonical, tensors.get(name)!);
      }
      const head = entries.get(LM_HEAD);
      entries.delete(LM_HEAD);
      // Robotics models save only the head: tied, it is the embedding.
      const alone = head !== undefined && !entries.has(EMBEDDING);
      if (alone) entries.set(EMBEDDING, head);
      return new Checkpoint(folder.name, sources, entries, alone ? undefined : head, folder.localPath, holder);
    } catch (error) {
      await closeAll(sources);
      throw error;
    }
  }

  /**
   * Compares names, shapes and types with what the model needs: canonical name -> shape.
   * Throws one `WeightsError` that lists missing, unexpected and misshapen tensors and those that are no F32, F16 or BF16.
   */
  check(expected: ReadonlyMap<string, readonly number[]>): void {
    const missing = [...expected.keys()].filter((name) => !this.entries.has(name));
    const unexpected: string[] = [];
    const misshapen: string[] = [];
    const mistyped: string[] = [];
    for (const [name, { name: spelled, shape, dtype }] of this.entries) {
      const wanted = expected.get(name);
      if (!wanted) {
        unexpected.push(spelled === name ? name : `${name} (in the file "${spelled}")`);
        continue;
      }
      if (!sameShape(shape, wanted)) misshapen.push(`${name} is [${shape}], expected [${wanted}]`);
      if (!isFloat(dtype)) mistyped.push(`${name} is ${dtype}, expected F32, F16 or BF16`);
    }
    const lists = [listed("missing", missing), listed("unexpected", unexpected), listed("misshapen", misshapen)];
    const faults = [...lists, listed("of a type that is not read", mistyped)].filter((text) => text !== "");
    if (faults.length === 0) return;
    const advice = quantised(unexpected)
      ? "These are quantised weights, which are not read: take the checkpoint that they were made from."
      : "Check that the weights and config.json belong together and that the download is complete.";
    throw new WeightsError(`${this.name}: the weights are not those of this model.\n${faults.join("\n")}\n${advice}`);
  }

  /**
   * Reads every tensor at or below the dotted path `prefix` ("" for all) into memory, for `get`; what is staged already stays.
   * `onBytes` hears the bytes of each piece read. Throws `WeightsError` when nothing is there, on read errors, and for an lm_head that differs.
   */
  async stage(prefix: string, onBytes: (bytes: number) => void = () => {}): Promise<void> {
    const below = [...this.entries].filter(
      ([name]) => prefix === "" || name === prefix || name.startsWith(`${prefix}.`),
    );
    if (below.length === 0)
      throw new WeightsError(`${this.name}: there is no tensor at or below ${shown(prefix)} to stage`);
    if (below.some(([name]) => name === EMBEDDING)) await this.verifyTied();
    const mapped = below.filter(([, entry]) => this.mappedPath(entry) !== null);
    await this.prefault(
      mapped.map(([, entry]) => entry),
      onBytes,
    );
    const wanted = below.filter(([name, entry]) => !this.staged.has(name) && this.mappedPath(entry) === null);
    for (const group of joined(wanted)) await this.stageGroup(group, onBytes);
  }

  /** The file that a tensor is mapped from, or null where its bytes must be read: no holder, another type, not on disk. */
  private mappedPath({ file, dtype }: CheckpointEntry): string | null {
    if (!this.holder?.maps || this.folder === null || !isFloat(dtype)) return null;
    const asStored = this.holder.dtype === null || this.holder.dtype === dtype;
    return asStored ? join(this.folder, file) : null;
  }

  private async prefault(entries: CheckpointEntry[], onBytes: (bytes: number) => void): Promise<void> {
    const pieces = entries.flatMap((entry) => {
      const starts = Array.from(
        { length: Math.ceil((entry.end - entry.start) / MAPPED_CHUNK) },
        (_, i) => entry.start + i * MAPPED_CHUNK,
      );
      return starts.map((start) => ({
        path: this.mappedPath(entry)!,
        start,
        end: Math.min(start + MAPPED_CHUNK, entry.end),
      }));
    });
    const lane = async (): Promise<void> => {
      for (let piece = pieces.shift(); piece; piece = pieces.shift()) {
        await this.holder!.prefault(piece.path, piece.start, piece.end);
        onBytes(piece.end - piece.start);
      }
    };
    await Promise.all(Array.from({ length: LANES }, lane));
  }

  /** Reads tensors that are neighbours in one file; a single large one goes piece by piece into its own array. */
  private async stageGroup(group: [string, CheckpointEntry][], onBytes: (bytes: number) => void): Promise<void> {
    const [[first, { file, start }]] = group;
    const { end } = group.at(-1)![1];
    const source = this.sources.get(file)!;
    if (end - start > CHUNK) {
      const bytes = allocate(`${source.name}: tensor ${first}`, end - start);
      for (let at = start; at < end; at += CHUNK) {
        const piece = await source.read(at, Math.min(at + CHUNK, end));
        bytes.set(piece, at - start);
        onBytes(piece.length);
      }
      this.staged.set(first, bytes);
      return;
    }
    const bytes = await source.read(start, end);
    // Copies: a view would keep the whole piece alive until the last of its tensors is handed out.
    for (const [name, entry] of group) this.staged.set(name, bytes.slice(entry.start - start, entry.end - start));
    onBytes(bytes.length);
  }

  /**
   * Checks once that an lm_head beside the embedding has the same bytes, read in pieces; `stage` does it with the embedding.
   * Throws `WeightsError` when they differ: the model has one tensor for both.
   */
  verifyTied(): Promise<void> {
    this.tied ??= this.compareHead();
    return this.tied;
  }

  private async compareHead(): Promise<void> {
    const embedding = this.entries.get(EMBEDDING);
    if (!this.head || !embedding) return;
    const untied = (how: string): WeightsError =>
      new WeightsError(
        `${this.name}: "${this.head!.name}" and "${embedding.name}" differ in ${how}; an output head of its own is not supported`,
      );
    if (this.head.dtype !== embedding.dtype) throw untied("type");
    if (!sameShape(this.head.shape, embedding.shape)) throw untied("shape");
    const size = embedding.end - embedding.start;
    for (let at = 0; at < size; at += CHUNK) {
      const piece = ({ file, start }: CheckpointEntry): Promise<Uint8Array> =>
        this.sources.get(file)!.read(start + at, start + Math.min(at + CHUNK, size));
      const [a, b] = [await piece(this.head), await piece(embedding)];
      if (Buffer.compare(a, b) !== 0) throw untied("content");
    }
  }

  /**
   * Hands a staged tensor out as f32 and forgets its bytes; the caller owns the tensor.
   * Throws `WeightsError` for an unknown name, another shape, and a tensor that is not staged.
   */
  get(name: string, shape: readonly number[]): tf.Tensor {
    const entry = this.entryOf(name, shape);
    const path = this.mappedPath(entry);
    if (path === null) return tf.tensor(toFloat32(this.takeBytes(name), entry.dtype), [...shape], "float32");
    this.read.add(name);
    return this.holder!.widened(path, entry);
  }

  /** `get` of a tensor that is multiplied by: with a holder in the form that its kernels read, else the same as `get`. */
  matrix(name: string, shape: readonly number[]): tf.Tensor {
    if (this.holder === null) return this.get(name, shape);
    const entry = this.entryOf(name, shape);
    const path = this.mappedPath(entry);
    if (path === null) {
      const dtype = this.holder.dtype ?? (entry.dtype as FloatDType);
      const bytes = this.takeBytes(name);
      const converted = dtype === entry.dtype ? bytes : fromFloat32(toFloat32(bytes, entry.dtype), dtype);
      return this.holder.held(converted, dtype, shape);
    }
    this.read.add(name);
    return this.holder.mapped(path, entry);
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

  /** The part below `path`, for a layer that knows only its own names. */
  at(path: string): WeightScope {
    return {
      at: (inner) => this.at(`${path}.${inner}`),
      get: (name, shape) => this.get(`${path}.${name}`, shape),
      matrix: (name, shape) => this.matrix(`${path}.${name}`, shape),
    };
  }

  /** Canonical names that `get` has not handed out yet. */
  unread(): string[] {
    return [...this.entries.keys()].filter((name) => !this.read.has(name));
  }

  /** Closes the files and frees what is staged; tensors handed out stay. */
  async close(): Promise<void> {
    this.staged.clear();
    this.holder?.close();
    await closeAll(this.sources);
  }
}

/** Opens the files into `sources` and lists their tensors by the names in the files. */
async function readTensors(folder: Folder, sources: Map<string, ByteSource>): Promise<Map<string, CheckpointEntry>> {
  const index = (await folder.has(INDEX)) ? await readShardIndex(folder) : null;
  if (!index && !(await folder.has(SINGLE))) throw new WeightsError(await nothingFound(folder));
  const files = index ? [...new Set(index.weightMap.values())] : [SINGLE];
  for (const file of files) {
    if (!index || (await folder.has(file))) continue;
    throw new WeightsError(`${folder.name}: the shard ${file}, named by ${INDEX}, is missing; download it again`);
  }
  const tensors = new Map<string, CheckpointEntry>();
  for (const file of files) {
    const source = await folder.open(file);
    sources.set(file, source);
    for (const [name, entry] of (await readHeader(source)).tensors) {
      const mapped = index ? index.weightMap.get(name) : file;
      if (mapped !== file) {
        const claim = mapped === undefined ? "does not name it" : `puts it into ${mapped}`;
        throw new WeightsError(`${source.name}: holds the tensor ${shown(name)}, and ${INDEX} ${claim}`);
      }
      tensors.set(name, { ...entry, file });
    }
  }
  if (index) checkIndex(folder, index, tensors);
  return tensors;
}

/** What the headers could not show: names that no shard holds, and the size of all. */
function checkIndex(folder: Folder, index: ShardIndex, tensors: ReadonlyMap<string, CheckpointEntry>): void {
  for (const [name, file] of index.weightMap) {
    if (tensors.has(name)) continue;
    throw new WeightsError(
      `${folder.name}: ${INDEX} puts the tensor ${shown(name)} into ${file}, which does not hold it`,
    );
  }
  if (index.totalSize === undefined) return;
  let total = 0;
  for (const { start, end } of tensors.values()) total += end - start;
  if (index.totalSize !== total) {
    const claim = `${folder.name}: ${INDEX} has total_size ${shown(index.totalSize)}`;
    throw new WeightsError(`${claim}, the tensors have ${total} bytes; index and shards do not belong together`);
  }
}

async function nothingFound(folder: Folder): Promise<string> {
  const found: string[] = [];
  if (folder.localPath !== null) {
    found.push(...(await readdir(folder.localPath)).filter((file) => OTHER_ENDINGS.test(file)).sort());
  } else {
    for (const file of OTHER_NAMES) if (await folder.has(file)) found.push(file);
  }
  const looked = `${folder.name}: found neither ${INDEX} nor ${SINGLE}`;
  if (found.length === 0) return `${looked}; give the folder of a Hugging Face checkpoint saved as safetensors`;
  return `${looked}, only ${cut(found).join(", ")}, which is not read; save the model as safetensors under that name`;
}

/** Tensors in the order of their files, those that lie side by side joined up to `CHUNK`. */
function joined(entries: [string, CheckpointEntry][]): [string, CheckpointEntry][][] {
  const groups: [string, CheckpointEntry][][] = [];
  const order = (a: string, b: string): number => (a === b ? 0 : a < b ? -1 : 1);
  for (const item of entries.sort(([, a], [, b]) => order(a.file, b.file) || a.start - b.start || a.end - b.end)) {
    const [, { file, start, end }] = item;
    const group = groups.at(-1);
    const touches = group?.at(-1)![1].file === file && group.at(-1)![1].end === start;
    if (group && touches && end - group[0][1].start <= CHUNK) group.push(item);
    else groups.push([item]);
  }
  return groups;
}

const sameShape = (a: readonly number[], b: readonly number[]): boolean =>
  a.length === b.length && a.every((size, axis) => size === b[axis]);

const cut = (names: string[]): string[] =>
  names.length > LISTED ? [...names.slice(0, LISTED), `and ${names.length - LISTED} more`] : names;

const listed = (kind: string, names: string[]): string =>
  names.length === 0 ? "" : `  ${kind} (${names.length}): ${cut(names).join(", ")}`;

/** bitsandbytes puts its tables beside each weight. */
const quantised = (names: string[]): boolean =>
  names.some((name) => /\.(absmax|quant_map|quant_state\.|SCB)/.test(name));

async function closeAll(sources: ReadonlyMap<string, ByteSource>): Promise<void> {
  for (const source of sources.values()) await source.close();
}
