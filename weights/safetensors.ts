import { joinBytes } from "./bytes.js";
import { bytesOf, isDType, DTYPES, type DType } from "./dtype.js";
import { WeightsError } from "./errors.js";
import { kindOf } from "./foreign-file.js";
import { decodeUtf8, isObject, parseStrictJson, shown, type JsonObject } from "./json.js";
import type { ByteSource } from "./byte-source.js";
import { checkedBytes, isSizes, sizeOfTensor, type TensorData } from "./tensor-data.js";

export type { TensorData } from "./tensor-data.js";

/**
 * Longest header that is read, in bytes: the length comes from the file, and parsing takes several times as much
 * memory. PaliGemma 2 28B has about 1,500 tensors.
 */
export const MAX_HEADER_BYTES = 20_000_000;
/** Most tensors of a header that is read; a training with its optimizer has some thousands. */
export const MAX_TENSORS = 100_000;

/**
 * Longest name of a tensor that is read, in characters: those of models have about a hundred, and messages repeat them.
 */
export const MAX_NAME = 1024;

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

/**
 * Reads and checks the header of a safetensors file, and no tensor. Layout: 8 bytes length, little-endian; JSON; data.
 * Throws `WeightsError` for each claim that is not so: length, JSON, a name twice, types, shapes, sizes, and data that
 * leave the file, overlap, have gaps or end early; a file of another known kind is called by it. Source: safetensors
 * `tensor.rs`, `SafeTensors::read_metadata` and `Metadata::validate`.
 */
export async function readHeader(source: ByteSource): Promise<SafetensorsHeader> {
  try {
    return await readClaims(source);
  } catch (error) {
    if (!(error instanceof WeightsError)) throw error;
    // Asked last: by its first bytes alone a sound file may look like another kind.
    const kind = await kindOf(source).catch(() => null);
    if (kind === null) throw error;
    throw new WeightsError(`${source.name}: expected a safetensors file, found ${kind}`, { cause: error });
  }
}

async function readClaims(source: ByteSource): Promise<SafetensorsHeader> {
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
  const header = await source.read(8, dataStart);
  if (objectsIn(header) > MAX_TENSORS + 2) {
    throw new WeightsError(`${where} lists more than ${MAX_TENSORS} tensors, which are not read; is it a checkpoint?`);
  }
  const text = decodeUtf8(header, where);
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

/** Braces that open in JSON: each tensor is an object, and they are counted long before the text could be parsed. */
function objectsIn(json: Uint8Array): number {
  let count = 0;
  for (let at = json.indexOf(0x7b); at >= 0; at = json.indexOf(0x7b, at + 1)) count++;
  return count;
}

function checkMetadata(value: unknown, where: string): Record<string, string> {
  if (isObject(value) && Object.values(value).every((text) => typeof text === "string")) {
    return value as Record<string, string>;
  }
  throw new WeightsError(`${where} has __metadata__ ${shown(value)}, expected an object of strings`);
}

function checkEntry(name: string, value: unknown, source: ByteSource, dataStart: number): TensorEntry {
  if (name.length > MAX_NAME) {
    throw new WeightsError(
      `${source.name}: the tensor ${shown(name)} has a name of ${name.length} characters, at most ${MAX_NAME} are read`,
    );
  }
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

/**
 * Tensors must fill the data part without gap or overlap, as safetensors itself demands: nothing can hide between them.
 */
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
 * A safetensors file in memory. `metadata` becomes `__metadata__`. Tensors are ordered widest type first, then by name,
 * so that each starts at a multiple of its width. Throws `WeightsError` when a tensor's bytes do not fit its type and
 * shape.
 */
export function encodeSafetensors(
  tensors: ReadonlyMap<string, TensorData>,
  metadata?: Readonly<Record<string, string>>,
): Uint8Array<ArrayBuffer> {
  return joinBytes("encodeSafetensors", fileParts(tensors, metadata, "encodeSafetensors"));
}

/**
 * A file in order: length and header, then each tensor's bytes. Throws `WeightsError` naming `where` as
 * `encodeSafetensors` does.
 */
export function fileParts(
  tensors: ReadonlyMap<string, TensorData>,
  metadata: Readonly<Record<string, string>> | undefined,
  where: string,
): Uint8Array[] {
  const data = new Map(
    [...tensors].map(([name, tensor]) => [name, checkedBytes(tensor, `${where}: tensor ${shown(name)}`)]),
  );
  const { header, order } = headerOf(
    [...tensors].map(([name, tensor]) => ({ ...tensor, name })),
    metadata,
    where,
  );
  return [header, ...order.map(({ name }) => data.get(name)!)];
}

/** What the header says of a tensor. */
type Described = { readonly name: string; readonly dtype: DType; readonly shape: readonly number[] };

/**
 * The length and header of a file, and the order of its tensors: widest type first, then by name. Throws `WeightsError`
 * naming `where` for a name that the format keeps for itself. Source of order and padding: safetensors `tensor.rs`,
 * `prepare`.
 */
export function headerOf<T extends Described>(
  tensors: readonly T[],
  metadata: Readonly<Record<string, string>> | undefined,
  where: string,
): { header: Uint8Array<ArrayBuffer>; order: T[] } {
  const order = [...tensors].sort((a, b) => bytesOf(b.dtype) - bytesOf(a.dtype) || (a.name < b.name ? -1 : 1));
  // Built as text: an object would put names such as "7" first and lose "__proto__".
  const fields = metadata ? [`"__metadata__":${JSON.stringify(checkMetadata(metadata, where))}`] : [];
  let at = 0;
  for (const { name, dtype, shape } of order) {
    const described = `${where}: tensor ${shown(name)}`;
    if (name === "__metadata__") throw new WeightsError(`${described} has the name that the format keeps for itself`);
    const offsets = [at, (at += sizeOfTensor(dtype, shape, described))];
    fields.push(`${JSON.stringify(name)}:${JSON.stringify({ dtype, shape, data_offsets: offsets })}`);
  }
  const text = new TextEncoder().encode(`{${fields.join(",")}}`);
  const header = new Uint8Array(8 + Math.ceil(text.length / 8) * 8).fill(0x20); // spaces up to a multiple of 8
  new DataView(header.buffer).setBigUint64(0, BigInt(header.length - 8), true);
  header.set(text, 8);
  return { header, order };
}
