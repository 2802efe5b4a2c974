import type { DType } from "./dtype.js";
import { WeightsError } from "./errors.js";
import { decodeUtf8, shown } from "./json.js";
import { isSizes, sizeOfTensor } from "./tensor-data.js";

/** Longest header text that is read, in bytes. Source: numpy `lib/_format_impl.py`, _MAX_HEADER_SIZE. */
export const MAX_NPY_HEADER = 10_000;
/** Most axes of an array. Source: numpy 2, NPY_MAXDIMS. */
export const MAX_NPY_RANK = 64;

/** What a .npy file says it holds; the values are the bytes `dataStart` to `dataEnd` of the file. */
export interface NpyHeader {
  readonly dtype: DType;
  readonly shape: readonly number[];
  /** Whether values have their highest byte first. */
  readonly bigEndian: boolean;
  /** Whether the first axis varies fastest. */
  readonly fortranOrder: boolean;
  readonly dataStart: number;
  readonly dataEnd: number;
}

/**
 * How the two-byte void type `V2` is read: NumPy has no bfloat16, and its array of one is saved so. Without it, V2 is
 * refused.
 */
export type NpyOptions = { readonly void2?: "BF16" | undefined };

/**
 * The types that are read and written, by NumPy's kind and width. Source: numpy, the array interface protocol's
 * typestr.
 */
const TYPES: ReadonlyMap<string, DType> = new Map([
  ["f2", "F16"],
  ["f4", "F32"],
  ["f8", "F64"],
  ["i1", "I8"],
  ["i2", "I16"],
  ["i4", "I32"],
  ["i8", "I64"],
  ["u1", "U8"],
  ["u2", "U16"],
  ["u4", "U32"],
  ["u8", "U64"],
  ["b1", "BOOL"],
  ["V2", "BF16"],
]);
const CODES = new Map([...TYPES].map(([code, dtype]) => [dtype, code]));

const MAGIC = [0x93, 0x4e, 0x55, 0x4d, 0x50, 0x59]; // "\x93NUMPY"

/** Bytes that must be read before `parseNpyHeader` can be sure to have the whole header. */
export const NPY_PRELUDE = 12 + MAX_NPY_HEADER;

/**
 * Reads and checks the header of a .npy file. Layout: magic, version, length (2 bytes in 1.0, 4 in 2.0 and 3.0), the
 * text of a Python dictionary with descr, fortran_order and shape; then the values. `bytes` are the first of `size`
 * bytes, `NPY_PRELUDE` of them or all. Throws `WeightsError` naming `where` for each claim that is not so, and for
 * types without numbers. Source: numpy `lib/_format_impl.py`, "Format Version 1.0" to "3.0".
 */
export function parseNpyHeader(bytes: Uint8Array, size: number, where: string, options: NpyOptions = {}): NpyHeader {
  const [textStart, dataStart] = headerRange(bytes, size, where);
  const text = decodeText(bytes.subarray(textStart, dataStart), bytes[6] === 3, `${where}: the .npy header`);
  const { descr, fortranOrder, shape } = checkFields(parseDictionary(text), text, where);
  const { dtype, bigEndian } = typeOf(descr, options, where);
  if (shape.length > MAX_NPY_RANK) {
    throw new WeightsError(`${where} has ${shape.length} axes, an array has at most ${MAX_NPY_RANK}`);
  }
  const dataEnd = dataStart + sizeOfTensor(dtype, shape, where);
  if (dataEnd !== size) {
    const fault = dataEnd > size ? "is it cut off?" : "it holds more than one array or is damaged";
    throw new WeightsError(
      `${where} of ${dtype} [${shape}] should end at byte ${dataEnd}, it ends at ${size}: ${fault}`,
    );
  }
  return { dtype, shape, bigEndian, fortranOrder, dataStart, dataEnd };
}

/** Where the header's text starts, and where it ends. */
function headerRange(bytes: Uint8Array, size: number, where: string): [textStart: number, dataStart: number] {
  if (bytes.length < 10 || MAGIC.some((byte, i) => bytes[i] !== byte)) {
    throw new WeightsError(`${where} is no .npy file: its first bytes are ${shown([...bytes.subarray(0, 6)])}`);
  }
  const [major, minor] = bytes.subarray(6, 8);
  if (major < 1 || major > 3 || minor !== 0) {
    throw new WeightsError(
      `${where} is .npy version ${major}.${minor}, expected 1.0, 2.0 or 3.0; save it with numpy.save`,
    );
  }
  const textStart = major === 1 ? 10 : 12;
  if (bytes.length < textStart)
    throw new WeightsError(`${where} ends at byte ${size}, within its .npy header; is it cut off?`);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const length = major === 1 ? view.getUint16(8, true) : view.getUint32(8, true);
  if (length > MAX_NPY_HEADER) {
    throw new WeightsError(`${where} announces a header of ${length} bytes, at most ${MAX_NPY_HEADER} are read`);
  }
  const dataStart = textStart + length;
  if (dataStart > size) {
    throw new WeightsError(
      `${where}: its .npy header should end at byte ${dataStart}, it ends at ${size}; is it cut off?`,
    );
  }
  return [textStart, dataStart];
}

// Before version 3.0 the text is Latin-1; a field that needs more than ASCII is refused anyway.
const decodeText = (bytes: Uint8Array, utf8: boolean, where: string): string =>
  utf8 ? decodeUtf8(bytes, where) : Buffer.from(bytes).toString("latin1");

type Value = string | boolean | number[];

const TOKEN = /'[^'\\]*'|"[^"\\]*"|True|False|\d+|\S/g;

/**
 * The fields of a dictionary of strings, booleans and tuples of whole numbers, written as Python writes them; null for
 * any other text. Nothing is evaluated.
 */
function parseDictionary(text: string): Map<string, Value> | null {
  const tokens = text.match(TOKEN) ?? [];
  const fields = new Map<string, Value>();
  if (tokens.shift() !== "{") return null;
  while (tokens[0] !== "}") {
    const name = quoted(tokens.shift());
    if (name === null || fields.has(name) || tokens.shift() !== ":") return null;
    const value = takeValue(tokens);
    if (value === null) return null;
    fields.set(name, value);
    if (tokens[0] === ",") tokens.shift();
    else if (tokens[0] !== "}") return null;
  }
  return tokens.length === 1 ? fields : null;
}

const quoted = (token: string | undefined): string | null =>
  token !== undefined && token.length > 1 && /^['"]/.test(token) ? token.slice(1, -1) : null;

/** Takes a value off the front; null when there is none. (2,) is a tuple, (2) is not. */
function takeValue(tokens: string[]): Value | null {
  const first = tokens.shift();
  if (first === "True" || first === "False") return first === "True";
  if (first !== "(") return quoted(first);
  const sizes: number[] = [];
  let commas = 0;
  while (tokens[0] !== ")") {
    const size = tokens.shift() ?? "";
    if (!/^\d+$/.test(size) || commas < sizes.length) return null;
    sizes.push(Number(size));
    if (tokens[0] === ",") commas += tokens.splice(0, 1).length;
  }
  tokens.shift();
  return sizes.length === 1 && commas === 0 ? null : sizes;
}

function checkFields(fields: Map<string, Value> | null, text: string, where: string) {
  const [descr, fortranOrder, shape] = ["descr", "fortran_order", "shape"].map((name) => fields?.get(name));
  if (fields?.size === 3 && typeof descr === "string" && typeof fortranOrder === "boolean" && isSizes(shape)) {
    return { descr, fortranOrder, shape };
  }
  const expected = "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }";
  const hint = /'descr':\s*\[/.test(text) ? "; an array of records is not read, save its fields apart" : "";
  throw new WeightsError(`${where} has the .npy header ${shown(text.trim())}, expected one such as ${expected}${hint}`);
}

function typeOf(descr: string, { void2 }: NpyOptions, where: string): { dtype: DType; bigEndian: boolean } {
  const dtype = /^[<>|]/.test(descr) ? TYPES.get(descr.slice(1)) : undefined;
  const width = Number(descr.at(-1));
  if (dtype === undefined || (descr.startsWith("|") && width > 1 && dtype !== "BF16")) {
    const hint = descr.includes("O") ? "; Python objects are never read" : "";
    const known = [...TYPES.keys()].join(" ");
    throw new WeightsError(`${where} has the type '${descr}', expected < or > and one of ${known}${hint}`);
  }
  if (dtype === "BF16" && (void2 !== "BF16" || descr.startsWith(">"))) {
    throw new WeightsError(`${where} has the type '${descr}', two bytes without a meaning; say that it is bfloat16`);
  }
  return { dtype, bigEndian: descr.startsWith(">") && width > 1 };
}

/**
 * The bytes before the values of a little-endian array in C order: version 1.0, padded with spaces so that values start
 * at a multiple of 64. BF16 becomes `|V2`. Throws `WeightsError` naming `where` for 8-bit floats and more than 64 axes.
 */
export function encodeNpyHeader(dtype: DType, shape: readonly number[], where: string): Uint8Array<ArrayBuffer> {
  const code = CODES.get(dtype);
  if (code === undefined) throw new WeightsError(`${where} is ${dtype}, which NumPy has no type for; use safetensors`);
  if (shape.length > MAX_NPY_RANK) {
    throw new WeightsError(`${where} has ${shape.length} axes, an array has at most ${MAX_NPY_RANK}`);
  }
  const order = /1$|V/.test(code) ? "|" : "<";
  const tuple = shape.length === 1 ? `(${shape[0]},)` : `(${shape.join(", ")})`;
  const text = `{'descr': '${order}${code}', 'fortran_order': False, 'shape': ${tuple}, }`;
  const bytes = new Uint8Array(Math.ceil((10 + text.length + 1) / 64) * 64).fill(0x20);
  bytes.set([...MAGIC, 1, 0]);
  new DataView(bytes.buffer).setUint16(8, bytes.length - 10, true);
  bytes.set(new TextEncoder().encode(text), 10);
  bytes[bytes.length - 1] = 0x0a;
  return bytes;
}
