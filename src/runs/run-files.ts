import { stat } from "node:fs/promises";
import path from "node:path";

import { requireMemoryFor } from "../../weights/available-memory.js";
import { bytesOf } from "../../weights/dtype.js";
import { WeightsError } from "../../weights/errors.js";
import { decodeUtf8, parseStrictJson, shown } from "../../weights/json.js";
import { readNpy, writeNpy } from "../../weights/npy.js";
import { openNpz, writeNpz } from "../../weights/npz.js";
import { readHeader } from "../../weights/safetensors.js";
import { writeSafetensors } from "../../weights/write-safetensors.js";
import type { ByteSource } from "../../weights/byte-source.js";
import { openFile } from "../../weights/source.js";
import type { TensorData } from "../../weights/tensor-data.js";
import { writeWholeFile } from "../../weights/write-file.js";
import { InputError } from "../base/errors.js";
import { inOrderOfComputation } from "../hooks/hook-order.js";
import { readModuleDump } from "./module-dump.js";
import { checkedMetadata, decodeRunJson, encodeRunJson } from "./run-json.js";
import { type StoredRun, type StoredTensor, toNumbers } from "../inspection/stored-run.js";

/**
 * The member of a .npz that holds the metadata: no array, so that `numpy.load(path)[name]` is one line for every
 * activation.
 */
const METADATA = "__metadata__.json";
/** Longest .json that is read, in bytes; the numbers of the largest that is written take a tenth of it. */
const MAX_JSON_FILE = 64e6;
/** The endings of the files that a run is written to. */
export const RUN_ENDINGS: readonly string[] = [".safetensors", ".npz", ".npy", ".json"];

type Writer = (
  file: string,
  tensors: ReadonlyMap<string, StoredTensor>,
  metadata: Readonly<Record<string, string>>,
) => Promise<void>;
type Part = Pick<StoredRun, "tensors" | "metadata">;

/**
 * Writes activations and metadata in the form that the file's ending names: `.safetensors`, `.npz`, `.json` (small
 * runs), or `.npy` (one activation, which loses its name and the metadata). The file is there completely or not at all.
 * Throws `InputError` for another ending, several activations in a .npy and too much for JSON; `WeightsError` naming
 * the path where shape and data differ or writing fails.
 */
export async function writeRun(
  file: string,
  tensors: ReadonlyMap<string, StoredTensor>,
  metadata: Readonly<Record<string, string>> = {},
): Promise<void> {
  await writerOf(file)(file, tensors, metadata);
}

/**
 * Reads what `writeRun` wrote, what `exportRun` wrote, NumPy's own files (two-byte void as bfloat16), or a folder of
 * transformers' module dumps (`readModuleDump`). All numbers become f32; hooks come in the order of computation, other
 * names behind them. Throws `InputError` for another ending, `WeightsError` for what is missing or damaged.
 */
export async function readRun(file: string): Promise<StoredRun> {
  if (await isFolder(file)) return readModuleDump(file);
  const read = readerOf(file);
  const source = await openFile(file);
  try {
    const { tensors, metadata } = await read(source);
    return { tensors: inOrder(tensors), metadata, notes: [] };
  } finally {
    await source.close();
  }
}

/** Files have activations by name or anyhow; whoever compares runs wants to see where they part. */
const inOrder = (tensors: ReadonlyMap<string, StoredTensor>): Map<string, StoredTensor> =>
  new Map(inOrderOfComputation(tensors.keys()).map((name) => [name, tensors.get(name)!]));

const isFolder = (file: string): Promise<boolean> =>
  stat(file).then(
    (info) => info.isDirectory(),
    () => false,
  );

const endingOf = (file: string): string => path.extname(file).toLowerCase();

function writerOf(file: string): Writer {
  if (endingOf(file) === ".safetensors") return writeAsSafetensors;
  if (endingOf(file) === ".npz") return writeAsNpz;
  if (endingOf(file) === ".npy") return writeAsNpy;
  if (endingOf(file) === ".json") return writeAsJson;
  throw new InputError(`${file}: expected a file ending in ${RUN_ENDINGS.join(", ")}`);
}

function readerOf(file: string): (source: ByteSource) => Promise<Part> {
  if (endingOf(file) === ".safetensors") return readFromSafetensors;
  if (endingOf(file) === ".npz") return readFromNpz;
  if (endingOf(file) === ".npy") return readFromNpy;
  if (endingOf(file) === ".json") return readFromJson;
  throw new InputError(`${file}: expected a file ending in ${RUN_ENDINGS.join(", ")}, or a folder of module dumps`);
}

const described = (tensors: ReadonlyMap<string, StoredTensor>): Map<string, TensorData> =>
  new Map([...tensors].map(([name, tensor]) => [name, { dtype: "F32", ...tensor }]));

const writeAsSafetensors: Writer = (file, tensors, metadata) => writeSafetensors(file, described(tensors), metadata);

const writeAsNpz: Writer = async (file, tensors, metadata) => {
  const others = new Map([[METADATA, new TextEncoder().encode(`${JSON.stringify(metadata)}\n`)]]);
  await writeNpz(file, described(tensors), others);
};

const writeAsNpy: Writer = async (file, tensors) => {
  const [only, ...more] = described(tensors).values();
  if (only === undefined || more.length > 0) {
    throw new InputError(`${file}: a .npy holds one activation, received ${tensors.size}; write .npz or .safetensors`);
  }
  await writeNpy(file, only);
};

const writeAsJson: Writer = async (file, tensors, metadata) =>
  writeWholeFile(file, [new TextEncoder().encode(encodeRunJson(tensors, metadata, file))]);

async function readFromSafetensors(source: ByteSource): Promise<Part> {
  const { tensors: entries, metadata } = await readHeader(source);
  requireMemoryFor(
    source.name,
    [...entries.values()].reduce((sum, { dtype, start, end }) => sum + (4 * (end - start)) / bytesOf(dtype), 0),
  );
  const tensors = new Map<string, StoredTensor>();
  for (const { name, dtype, shape, start, end } of entries.values()) {
    const data = toNumbers(await source.read(start, end), dtype, `${source.name}: tensor ${shown(name)}`);
    tensors.set(name, { shape, data });
  }
  return { tensors, metadata };
}

async function readFromNpz(source: ByteSource): Promise<Part> {
  const archive = await openNpz(source, { void2: "BF16" });
  const tensors = new Map<string, StoredTensor>();
  for (const name of archive.names) {
    const { dtype, shape, data } = await archive.read(name);
    tensors.set(name, { shape, data: toNumbers(data, dtype, `${source.name}: array ${shown(name)}`) });
  }
  if (!archive.others.includes(METADATA)) return { tensors, metadata: {} };
  const where = `${source.name}: ${METADATA}`;
  const text = decodeUtf8(await archive.readOther(METADATA), where);
  return { tensors, metadata: checkedMetadata(parseStrictJson(text, where), source.name) };
}

async function readFromNpy(source: ByteSource): Promise<Part> {
  const { dtype, shape, data } = await readNpy(source, { void2: "BF16" });
  const name = path.basename(source.name, path.extname(source.name));
  return { tensors: new Map([[name, { shape, data: toNumbers(data, dtype, source.name) }]]), metadata: {} };
}

async function readFromJson(source: ByteSource): Promise<Part> {
  if (source.size > MAX_JSON_FILE) {
    throw new WeightsError(`${source.name}: ${source.size} bytes, expected at most ${MAX_JSON_FILE} of a run as JSON`);
  }
  return decodeRunJson(decodeUtf8(await source.read(0, source.size), source.name), source.name);
}
