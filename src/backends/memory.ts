import type { Checkpoint, StoredForm } from "../../weights/checkpoint.js";
import { bytesOf, type FloatDType } from "../../weights/dtype.js";
import "../../weights/node-memory.js";
import { availableBytes, gigabytes } from "../../weights/available-memory.js";
import { type DtypeChoice, holdsSixteenBit, isPacked, STORED } from "./dtypes.js";
import { BackendError } from "../base/errors.js";
import { kernelAddon } from "./native/kernels.js";

/** Most that wasm can address. Source: WebAssembly core specification 1.0, 65536 pages of 64 KiB. */
const WASM_HEAP = 2 ** 32;

/** Room for everything besides weights: activations of one answer, and the program. */
const WORKING = 2 ** 28;

/** Bytes of a packed weight with its share of scales, at the most: the table and the vision tower stay in 8 bit. */
const BYTES_PACKED = { int8: 1.01, nf4: 0.8 };

/** Bytes that a model's matrices and tables take by the type that they are held in, without activations. */
export type MemoryByDtype = Record<"float32" | "bfloat16" | "float16" | "int8" | "nf4", number>;

/**
 * Bytes of a checkpoint's weights in each type, about: of packed ones the most that scales and what stays in 8 bit can
 * come to.
 */
export const memoryByDtype = ({ numbers }: Pick<Checkpoint, "numbers">): MemoryByDtype => ({
  float32: bytesAs("float32", numbers),
  bfloat16: bytesAs("bfloat16", numbers),
  float16: bytesAs("float16", numbers),
  int8: Math.ceil(bytesAs("int8", numbers)),
  nf4: Math.ceil(bytesAs("nf4", numbers)),
});

const bytesAs = (dtype: keyof MemoryByDtype, numbers: number): number =>
  numbers * (isPacked(dtype) ? BYTES_PACKED[dtype] : dtype === "float32" ? 4 : 2);

/** Where the weights would go. */
export type Destination = { backend: string; dtype: DtypeChoice; folder: string };

/**
 * Throws `BackendError` when the weights cannot fit, before a byte of them is read: with what is needed, what is
 * available and what would fit. Weights that are mapped as stored always fit: the system reads them from the file as
 * they are used.
 */
export function requireMemory(checkpoint: Checkpoint, { backend, dtype, folder }: Destination): void {
  const { needed, inHeap = 0, why } = demand(checkpoint, backend, dtype);
  const free = availableBytes();
  const inWasm = inHeap > 0 && inHeap + WORKING > WASM_HEAP;
  if (needed === 0 || (needed + WORKING <= free && !inWasm)) return;
  const [available, limit] = inWasm ? [WASM_HEAP, "the most that wasm can address"] : [free, "free in this machine"];
  throw new BackendError(
    `${folder}: needs ${gigabytes(needed + WORKING)} on the backend ${backend} (${why}), available ${gigabytes(available)} ` +
      `(${limit}). What would fit: ${alternative(checkpoint, backend, free)}`,
  );
}

/** Bytes that weights take, `inHeap` of them where only wasm's memory will do, and of what. */
type Demand = { needed: number; inHeap?: number; why: string };

function demand(checkpoint: Checkpoint, backend: string, dtype: DtypeChoice): Demand {
  const { numbers } = checkpoint;
  const millions = `${(numbers / 1e6).toFixed(0)} million numbers`;
  if (isPacked(dtype)) return { needed: bytesAs(dtype, numbers), why: `${millions} packed into ${dtype}` };
  if (holdsSixteenBit(backend)) {
    const wanted: string | null = dtype === "auto" ? null : STORED[dtype];
    const stored = [...checkpoint.bytesByForm.keys()].every((form) => wanted === null || form === wanted);
    const mapped = kernelAddon() ? checkpoint.mappableBytes : 0;
    if (stored) return { needed: checkpoint.totalBytes - mapped, why: `${millions} as stored` };
    return { needed: bytesAs(dtype as keyof MemoryByDtype, numbers), why: `${millions} converted to ${dtype}` };
  }
  const packed = dtype === "auto" ? packedBytes(checkpoint) : 0;
  const wide = packed > 0 ? plainNumbers(checkpoint) : numbers;
  const beside = packed > 0 ? `, ${(wide / 1e6).toFixed(0)} million of them` : "";
  if (backend !== "wasm") return { needed: packed + 4 * wide, why: `${millions}${beside} in float32` };
  // A transposed copy of each matrix is kept there, which is nearly everything.
  const why = `${millions}${beside} in float32, and each matrix once more transposed`;
  return { needed: packed + 8 * wide, inHeap: 8 * wide, why };
}

const packedBytes = ({ bytesByForm }: Checkpoint): number =>
  [...bytesByForm].reduce((sum, [form, bytes]) => (isStoredFloat(form) ? sum : sum + bytes), 0);

const plainNumbers = ({ bytesByForm }: Checkpoint): number =>
  [...bytesByForm].reduce((sum, [form, bytes]) => (isStoredFloat(form) ? sum + bytes / bytesOf(form) : sum), 0);

const isStoredFloat = (form: StoredForm): form is FloatDType => Object.values<string>(STORED).includes(form);

function alternative(checkpoint: Checkpoint, backend: string, free: number): string {
  if (backend === "tensorflow" && kernelAddon())
    return `--dtype auto, which maps the ${gigabytes(checkpoint.totalBytes)} as they are`;
  const mapped = `the backend tensorflow with its kernels (\`npm run setup:native\`), which maps the ${gigabytes(checkpoint.totalBytes)} as they are`;
  const bytes = backend === "wasm" ? 8 : 4;
  const room = Math.max(0, (backend === "wasm" ? Math.min(free, WASM_HEAP) : free) - WORKING);
  const nf4 = bytesAs("nf4", checkpoint.numbers);
  const packed =
    nf4 + WORKING <= free ? `--dtype nf4 (${gigabytes(nf4)}, unpacked whenever it is used: slow), or ` : "";
  return `${mapped}; here, ${packed}a checkpoint of at most ${Math.floor(room / bytes / 1e6)} million numbers`;
}
