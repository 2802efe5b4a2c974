import type { CheckpointEntry, PlacedEntry, WeightFiles } from "../checkpoint-entry.js";
import { type FloatDType, toFloat32 } from "../dtype.js";
import { WeightsError } from "../errors.js";
import { decodeUtf8, isObject, parseStrictJson, shown } from "../json.js";
import type { ByteSource } from "../byte-source.js";
import { codeBytes, type PackTables } from "./packed-form.js";
import { quantisedEntry, type QuantisedEntry } from "./quantised-entry.js";

/** What bitsandbytes puts beside `X.weight`: behind its name, or, of LLM.int8(), in its place. */
const STATE = /^\.quant_state\.bitsandbytes__(nf4|fp4)$/;
const TABLES = [".absmax", ".quant_map", ".nested_absmax", ".nested_quant_map"];
/** Numbers of a block; others are none that bitsandbytes makes. */
const BLOCK_SIZES = [32, 64, 128, 256, 512, 1024, 2048, 4096];
const ROUNDINGS: Record<string, FloatDType> = { float32: "F32", float16: "F16", bfloat16: "BF16" };
/** A state is a few hundred bytes of JSON. */
const MAX_STATE = 65536;

type Entries = ReadonlyMap<string, CheckpointEntry>;
type Tables = { entry: (suffix: string) => PlacedEntry; floats: (suffix: string) => Promise<Float32Array> };

/**
 * The files with each matrix that bitsandbytes has packed (NF4, FP4, double quantised; LLM.int8()) as one entry, its
 * tables taken away; other files come back as they are. Throws `WeightsError` for tables that are incomplete, of
 * another type or size, or without their matrix, and for a state that lies. Source: bitsandbytes 0.50.2, functional.py
 * (QuantState.as_dict), nn/modules.py (Linear8bitLt).
 */
export async function withQuantised(files: WeightFiles): Promise<WeightFiles> {
  const packed = new Map<string, QuantisedEntry>();
  const taken = new Set<string>();
  for (const name of files.entries.keys()) {
    const state = /^(.*\.weight)(\.quant_state\.bitsandbytes__\w+)$/.exec(name);
    if (state && packed.has(state[1])) {
      throw new WeightsError(
        `${shown(state[1])}: is packed in two ways, the other is ${shown(name)}; only one may be there`,
      );
    }
    if (state) packed.set(state[1], await fourBit(files, state[1], state[2], taken));
    else if (name.endsWith(".SCB")) packed.set(`${name.slice(0, -4)}.weight`, eightBit(files, name, taken));
  }
  if (packed.size === 0) return files;
  const entries = new Map([...files.entries].filter(([name]) => !taken.has(name)));
  for (const [name, entry] of packed) entries.set(name, entry);
  return { ...files, entries };
}

async function fourBit(
  files: WeightFiles,
  weight: string,
  suffix: string,
  taken: Set<string>,
): Promise<QuantisedEntry> {
  const form = STATE.exec(suffix)?.[1] as "nf4" | "fp4" | undefined;
  const codes = placed(files.entries, weight, "the codes of", ["U8"]);
  const source = files.sources.get(codes.file)!;
  const wrong = (what: string): WeightsError =>
    new WeightsError(
      `${source.name}: the packed matrix ${shown(codes.name)} ${what}; the file is damaged, or of another library`,
    );
  if (form === undefined) throw wrong(`has a state ${shown(suffix)}, expected one of nf4 or fp4`);
  const { tables } = companions(files, weight, taken);
  const state = stateOf(
    await bytesOf(files, tables.entry(suffix), MAX_STATE),
    `${source.name}: the state of ${shown(codes.name)}`,
    wrong,
  );
  if (state.quantType !== form) throw wrong(`is called ${form} and its state says ${shown(state.quantType)}`);
  const numbers = state.shape.reduce((product, axis) => product * axis, 1);
  const bytes = codeBytes(form, numbers);
  if (codes.end - codes.start !== bytes) {
    throw wrong(`of [${state.shape}] needs ${bytes} bytes of codes, and has ${codes.end - codes.start}`);
  }
  const blocks = Math.ceil(numbers / state.blockSize);
  requireTable(tables.entry(".quant_map"), "F32", 16, wrong);
  requireTable(tables.entry(".absmax"), state.nested ? "U8" : "F32", blocks, wrong);
  if (state.nested) {
    requireTable(tables.entry(".nested_absmax"), "F32", Math.ceil(blocks / state.nested.blockSize), wrong);
    requireTable(tables.entry(".nested_quant_map"), "F32", 256, wrong);
  }
  const read = async (): Promise<PackTables> => ({
    kind: "codes4",
    codebook: await tables.floats(".quant_map"),
    absmax: await absmaxOf(files, tables, state.nested),
    blockSize: state.blockSize,
    rounding: state.rounding,
  });
  const { shape, rounding: dtype } = state;
  return quantisedEntry({ form, codes, dtype, shape, tables: read, blocks: blocks + 16, source });
}

function eightBit(files: WeightFiles, scb: string, taken: Set<string>): QuantisedEntry {
  const path = scb.slice(0, -".SCB".length);
  const codes = placed(files.entries, `${path}.weight`, "the codes of", ["I8"]);
  const scales = placed(files.entries, scb, "the scales of", ["F32", "F16", "BF16"]);
  const source = files.sources.get(codes.file)!;
  const [rows] = codes.shape;
  const wrong = (what: string): WeightsError =>
    new WeightsError(
      `${source.name}: the packed matrix ${shown(codes.name)} ${what}; the file is damaged, or of another library`,
    );
  if (codes.shape.length !== 2) throw wrong(`has the shape [${codes.shape}], expected two axes`);
  requireTable(scales, scales.dtype as FloatDType, rows, wrong);
  taken.add(`${path}.weight`).add(scb);
  const format = files.entries.get(`${path}.weight_format`);
  if (format) taken.add(`${path}.weight_format`);
  const tables = async (): Promise<PackTables> => {
    // 0 is row by row. Older releases could save tiles of a GPU.
    if (format && (await bytesOf(files, format as PlacedEntry, 8))[0] !== 0) throw wrong("is not stored row by row");
    return { kind: "int8", absmax: toFloat32(await bytesOf(files, scales), scales.dtype) };
  };
  return quantisedEntry({ form: "int8", codes, dtype: "F32", shape: codes.shape, tables, blocks: rows, source });
}

// The tables beside a matrix, by what is behind its name; each that is there belongs to it.
function companions(files: WeightFiles, weight: string, taken: Set<string>): { tables: Tables } {
  taken.add(weight);
  for (const suffix of TABLES) if (files.entries.has(weight + suffix)) taken.add(weight + suffix);
  const entry = (suffix: string): PlacedEntry => {
    taken.add(weight + suffix);
    return placed(files.entries, weight + suffix, "a table of", ["U8", "F32"]);
  };
  const floats = async (suffix: string): Promise<Float32Array> => toFloat32(await bytesOf(files, entry(suffix)), "F32");
  return { tables: { entry, floats } };
}

// absmax of each block; doubly quantised: map[code] · nested_absmax[block of blocks] + offset, each step rounded to
// float32.
async function absmaxOf(files: WeightFiles, tables: Tables, nested: State["nested"]): Promise<Float32Array> {
  if (!nested) return tables.floats(".absmax");
  const codes = await bytesOf(files, tables.entry(".absmax"));
  const map = await tables.floats(".nested_quant_map");
  const outer = await tables.floats(".nested_absmax");
  const { fround } = Math;
  return Float32Array.from(codes, (code, i) =>
    fround(fround(map[code] * outer[Math.floor(i / nested.blockSize)]) + fround(nested.offset)),
  );
}

type State = {
  quantType: unknown;
  blockSize: number;
  rounding: FloatDType;
  shape: number[];
  nested: { blockSize: number; offset: number } | null;
};

function stateOf(bytes: Uint8Array, where: string, wrong: (what: string) => WeightsError): State {
  const state = parseStrictJson(decodeUtf8(bytes, where), where);
  if (!isObject(state)) throw wrong(`has the state ${shown(state)}, expected an object`);
  const { quant_type: quantType, blocksize, dtype, shape } = state;
  const isBlock = (size: unknown): size is number => BLOCK_SIZES.includes(size as number);
  if (!isBlock(blocksize)) throw wrong(`has blocks of ${shown(blocksize)}, expected one of ${BLOCK_SIZES.join(", ")}`);
  if (typeof dtype !== "string" || !Object.hasOwn(ROUNDINGS, dtype)) {
    throw wrong(`stands for ${shown(dtype)}, expected one of ${Object.keys(ROUNDINGS).join(", ")}`);
  }
  const sizes = Array.isArray(shape) ? (shape as unknown[]) : [];
  const whole = sizes.every((size) => Number.isSafeInteger(size) && (size as number) > 0);
  if (sizes.length !== 2 || !whole) throw wrong(`has the shape ${shown(shape)}, expected two sizes`);
  const { nested_blocksize: nestedSize, nested_offset: offset, nested_dtype: nestedType } = state;
  const nested = nestedSize === undefined && offset === undefined ? null : { blockSize: nestedSize, offset };
  if (nested && !(isBlock(nested.blockSize) && Number.isFinite(nested.offset) && nestedType === "float32")) {
    throw wrong(
      `is quantised twice by ${shown({ nestedSize, offset, nestedType })}, expected a block size, a number and float32`,
    );
  }
  return {
    quantType,
    blockSize: blocksize,
    rounding: ROUNDINGS[dtype],
    shape: sizes as number[],
    nested: nested as State["nested"],
  };
}

function placed(entries: Entries, name: string, what: string, types: readonly string[]): PlacedEntry {
  const entry = entries.get(name);
  if (!entry || !("start" in entry)) {
    throw new WeightsError(`${what} a packed matrix, ${shown(name)}: missing; download the checkpoint again`);
  }
  if (types.includes(entry.dtype)) return entry;
  throw new WeightsError(
    `${what} a packed matrix, ${shown(entry.name)}: is ${entry.dtype}, expected ${types.join(" or ")}`,
  );
}

function requireTable(entry: PlacedEntry, dtype: string, length: number, wrong: (what: string) => WeightsError): void {
  const count = entry.shape.reduce((product, axis) => product * axis, 1);
  if (entry.dtype === dtype && count === length) return;
  throw wrong(`has ${shown(entry.name)} of ${count} ${entry.dtype}, expected ${length} ${dtype}`);
}

async function bytesOf(files: WeightFiles, entry: PlacedEntry, most = Infinity): Promise<Uint8Array> {
  const source: ByteSource = files.sources.get(entry.file)!;
  if (entry.end - entry.start > most) {
    throw new WeightsError(
      `${source.name}: ${shown(entry.name)} has ${entry.end - entry.start} bytes, expected ${most} at most`,
    );
  }
  return source.read(entry.start, entry.end);
}
