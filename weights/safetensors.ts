import { randomUUID } from "node:crypto";
import { open, rename, rm, type FileHandle } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { allocate, MAX_PIECE, reasonOf } from "./bytes.js";
import { bytesOf, isDType, DTYPES, type DType } from "./dtype.js";
import { WeightsError } from "./errors.js";
import { decodeUtf8, isObject, parseStrictJson, shown, type JsonObject } from "./json.js";
import type { ByteSource } from "./source.js";

/**
 * Longest header that is read, in bytes: the length comes from the file, and parsing takes several times as much memory. It is
 * enough for half a million tensors. Source: safetensors `tensor.rs`, MAX_HEADER_SIZE.
 */
export const MAX_HEADER_BYTES = 100_000_000;

/** Where a tensor lies: bytes `start` to `end` of the file. */
export interface TensorEntry {
  readonly name: string;
  readonly dtype: DType;
  readonly shape: readonly number[];
  readonly start: number;
  readonly end: number;
}

/** What a safetensors file says it holds; `dataStart` is the byte after the header. */
export interface SafetensorsHeader {
  readonly tensors: Map<string, TensorEntry>;
  readonly metadata: Record<string, string>;
  readonly dataStart: number;
}

/** A tensor to write: little-endian bytes, or the typed array of its type. */
export interface TensorData {
  readonly dtype: DType;
  readonly shape: readonly number[];
  readonly data: ArrayBufferView;
}

/**
 * Reads and checks the header of a safetensors file, and no tensor. Layout: 8 bytes length, little-endian; JSON; data.
 * Throws `WeightsError` for each claim that is not so: length, JSON, a name twice, types, shapes, sizes, and data that leave the file,
 * overlap, have gaps or end early. Source: safetensors `tensor.rs`, `SafeTensors::read_metadata` and `Metadata::validate`.
 */
export async function readHeader(source: ByteSource): Promise<SafetensorsHeader> {
  if (source.size < 8) {
    throw new WeightsError(`${source.name}: ${source.size} bytes are no safetensors file, which has at least 8`);
  }
  const prefix = await source.read(0, 8);
  const length = new DataView(prefix.buffer, prefix.byteOffset, 8).getBigUint64(0, true);
  if (length > MAX_HEADER_BYTES) {
    const limit = `at most ${MAX_HEADER_BYTES} are read`;
    throw new WeightsError(`${source.name}: its first 8 bytes announce a header of ${length} bytes, ${limit}`);
  }
  const dataStart = 8 + Number(length);
  if (dataStart > source.size) {
    const found = `the file ends at ${source.size}; is it cut off?`;
    throw new WeightsError(`${source.name}: its header should end at byte ${dataStart}, ${found}`);
  }
  const where = `${source.name}: the safetensors header`;
  const text = decodeUtf8(await source.read(8, dataStart), where);
  const json = text.startsWith("{") ? parseStrictJson(text, where) : null;
  if (!isObject(json)) throw new WeightsError(`${where} is ${shown(text.slice(0, 60))}, expected a JSON object`);
  const tensors = new Map<string, TensorEntry>();
  let metadata: Record<string, string> = {};
  for (const [name, value] of Object.entries(json)) {
    if (name === "__metadata__") metadata = checkMetadata(value, where);
    else tensors.set(name, checkEntry(name, value, source, dataStart));
  }
  checkLayout([...tensors.values()], source, dataStart);
  return { tensors, metadata, dataStart };
}

function checkMetadata(value: unknown, where: string): Record<string, string> {
  if (isObject(value) && Object.values(value).every((text) => typeof text === "string")) {
    return value as Record<string, string>;
  }
  throw new WeightsError(`${where} has __metadata__ ${shown(value)}, expected an object of strings`);
}

function checkEntry(name: string, value: unknown, source: ByteSource, dataStart: number): TensorEntry {
  const where = `${source.name}: tensor ${shown(name)}`;
  if (!isObject(value)) throw new WeightsError(`${where} is ${shown(value)}, expected dtype, shape and data_offsets`);
  const { dtype, shape, data_offsets: offsets } = value as JsonObject;
  if (!isDType(dtype)) {
    throw new WeightsError(`${where} has dtype ${shown(dtype)}, expected one of ${DTYPES.join(" ")}`);
  }
  if (!isSizes(shape)) throw new WeightsError(`${where} has shape ${shown(shape)}, expected a list of sizes`);
  if (!isSizes(offsets) || offsets.length !== 2 || offsets[0] > offsets[1]) {
    throw new WeightsError(`${where} has data_offsets ${shown(offsets)}, expected [start, end] with start <= end`);
  }
  const [start, end] = offsets.map((offset) => dataStart + offset);
  if (end > source.size) {
    const cut = "the file is cut off or its header is wrong";
    throw new WeightsError(`${where} should end at byte ${end}, the file ends at ${source.size}: ${cut}`);
  }
  const size = sizeOfTensor(dtype, shape, where);
  if (size !== end - start) {
    throw new WeightsError(`${where} of ${dtype} [${shape}] needs ${size} bytes, its data_offsets give ${end - start}`);
  }
  return { name, dtype, shape, start, end };
}

const isSizes = (value: unknown): value is number[] =>
  Array.isArray(value) && value.every((size) => Number.isSafeInteger(size) && size >= 0);

/** Bytes of a tensor; throws `WeightsError` where a product is too large to be exact. */
function sizeOfTensor(dtype: DType, shape: readonly number[], where: string): number {
  let size = bytesOf(dtype);
  for (const axis of shape) {
    size *= axis;
    if (!Number.isSafeInteger(size)) throw new WeightsError(`${where} has shape [${shape}], more than can be counted`);
  }
  return size;
}

/** Tensors must fill the data part without gap or overlap, as safetensors itself demands: nothing can hide between them. */
function checkLayout(tensors: TensorEntry[], source: ByteSource, dataStart: number): void {
  let at = dataStart;
  let previous = "the header";
  for (const { name, start, end } of tensors.sort((a, b) => a.start - b.start || a.end - b.end)) {
    if (start !== at) {
      const fault = start < at ? "overlaps" : "leaves a gap after";
      throw new WeightsError(
        `${source.name}: tensor ${shown(name)} at byte ${start} ${fault} ${previous}, which ends at ${at}`,
      );
    }
    at = end;
    previous = `tensor ${shown(name)}`;
  }
  if (at !== source.size) {
    const extra = `${source.size - at} bytes follow ${previous}, which should end the file at ${at}`;
    throw new WeightsError(`${source.name}: ${extra}; the file is damaged`);
  }
}

/**
 * A safetensors file in memory. `metadata` becomes `__metadata__`. Tensors are ordered widest type first, then by name, so that each
 * starts at a multiple of its width. Throws `WeightsError` when a tensor's bytes do not fit its type and shape.
 * Source of order and padding: safetensors `tensor.rs`, `prepare`.
 */
export function encodeSafetensors(
  tensors: ReadonlyMap<string, TensorData>,
  metadata?: Readonly<Record<string, string>>,
): Uint8Array<ArrayBuffer> {
  const parts = fileParts(tensors, metadata, "encodeSafetensors");
  const bytes = allocate(
    "encodeSafetensors",
    parts.reduce((sum, part) => sum + part.length, 0),
  );
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}

/**
 * Writes a safetensors file, tensor by tensor, beside its place, and moves it there at the end: on failure nothing is left and
 * what was at `path` stays. Throws `WeightsError` naming the path when a tensor does not fit its description or writing fails.
 */
export async function writeSafetensors(
  path: string,
  tensors: ReadonlyMap<string, TensorData>,
  metadata?: Readonly<Record<string, string>>,
): Promise<void> {
  const parts = fileParts(tensors, metadata, path);
  const temporary = join(dirname(path), `.${basename(path)}.${randomUUID()}.part`);
  try {
    const handle = await open(temporary, "wx");
    try {
      for (const part of parts) await writeAll(handle, part);
      await handle.sync();
    } finally {
      await handle.close();
    }
    await rename(temporary, path);
  } catch (error) {
    await rm(temporary, { force: true }).catch(() => {});
    throw new WeightsError(`${path}: cannot be written (${reasonOf(error)})`);
  }
}

async function writeAll(handle: FileHandle, bytes: Uint8Array): Promise<void> {
  for (let at = 0; at < bytes.length;) {
    const { bytesWritten } = await handle.write(bytes, at, Math.min(bytes.length - at, MAX_PIECE));
    at += bytesWritten;
  }
}

/** The file in order: length and header, then each tensor's bytes. */
function fileParts(
  tensors: ReadonlyMap<string, TensorData>,
  metadata: Readonly<Record<string, string>> | undefined,
  where: string,
): Uint8Array[] {
  const sorted = [...tensors].sort(
    ([a, { dtype: A }], [b, { dtype: B }]) => bytesOf(B) - bytesOf(A) || (a < b ? -1 : 1),
  );
  // Built as text: an object would put names such as "7" first and lose "__proto__".
  const fields = metadata ? [`"__metadata__":${JSON.stringify(checkMetadata(metadata, where))}`] : [];
  const data: Uint8Array[] = [];
  let at = 0;
  for (const [name, tensor] of sorted) {
    const bytes = checkedBytes(name, tensor, where);
    const offsets = [at, (at += bytes.length)];
    const entry = { dtype: tensor.dtype, shape: tensor.shape, data_offsets: offsets };
    fields.push(`${JSON.stringify(name)}:${JSON.stringify(entry)}`);
    data.push(bytes);
  }
  const header = new TextEncoder().encode(`{${fields.join(",")}}`);
  const padded = new Uint8Array(8 + Math.ceil(header.length / 8) * 8).fill(0x20); // spaces up to a multiple of 8
  new DataView(padded.buffer).setBigUint64(0, BigInt(padded.length - 8), true);
  padded.set(header, 8);
  return [padded, ...data];
}

/** The typed array that may stand for a type's bytes, besides Uint8Array for any. */
const ARRAYS: Partial<Record<DType, { readonly name: string }>> = {
  F64: Float64Array,
  F32: Float32Array,
  I64: BigInt64Array,
  I32: Int32Array,
  I16: Int16Array,
  I8: Int8Array,
  U64: BigUint64Array,
  U32: Uint32Array,
  U16: Uint16Array,
};

function checkedBytes(name: string, { dtype, shape, data }: TensorData, where: string): Uint8Array {
  const tensor = `${where}: tensor ${shown(name)}`;
  if (name === "__metadata__") throw new WeightsError(`${tensor} has the name that the format keeps for itself`);
  if (!isDType(dtype)) {
    throw new WeightsError(`${tensor} has dtype ${shown(dtype)}, expected one of ${DTYPES.join(" ")}`);
  }
  if (!isSizes(shape)) throw new WeightsError(`${tensor} has shape ${shown(shape)}, expected a list of sizes`);
  const kind = data.constructor.name;
  if (!(data instanceof Uint8Array) && kind !== ARRAYS[dtype]?.name) {
    throw new WeightsError(`${tensor} is ${dtype}, its data is a ${kind}; give its bytes or the matching array`);
  }
  const size = sizeOfTensor(dtype, shape, tensor);
  if (size !== data.byteLength) {
    throw new WeightsError(`${tensor} of ${dtype} [${shape}] needs ${size} bytes, its data has ${data.byteLength}`);
  }
  return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
}
