import type * as tf from "@tensorflow/tfjs";

import { heldDtype, markHeld } from "../../../layers/stored.js";
import type { FloatDType } from "../../../weights/dtype.js";
import type { PackedMatrix } from "../../../weights/holder.js";
import type { Packed } from "../../../weights/quantised/pack.js";
import type { UnpackRows } from "../packed/block-kernels.js";
import { StagedPacking } from "../packed/staged-packing.js";
import { type Handle, labelled, nodeBackend, RawOps, TYPE } from "./raw-ops.js";

/** Where in a weight's bytes its parts begin, and how they are read. */
type Layout = {
  /** Bytes of codes, filled up to whole blocks and to `ALIGNMENT`. */
  codes: number;
  /** Scales behind the codes. */
  scales: number;
  /** Of codes of 4 bit; null for those of 8. */
  blocks: { size: number; rounding: FloatDType } | null;
};

/** Of weights, by their data. */
const layouts = new WeakMap<object, Layout>();

/** TensorFlow shares memory with slices that begin at multiples of it. */
const ALIGNMENT = 64;

/**
 * Keeps matrices of 8 and 4 bit on the device of the backend "tensorflow" without the project's kernels, a GPU for
 * instance: codes, scales and a table of the weights that two codes stand for, one behind the other. TensorFlow's own
 * operations unpack them piece by piece.
 */
export class DevicePacking extends StagedPacking {
  hold(packed: PackedMatrix): tf.Tensor {
    const { bytes, layout } = laidOut(this.claim(packed));
    const handle = RawOps.run(nodeBackend(), (ops) => {
      const uploaded = ops.upload([bytes.length], TYPE.uint8, bytes);
      return ops.keep(ops.op("Identity", [uploaded], { T: TYPE.uint8 })); // moves it to the device
    });
    const tensor = labelled(handle, packed.shape);
    layouts.set(tensor.dataId, layout);
    return markHeld(tensor, packed.form);
  }
}

/** Whether a weight is one that `unpackOnDevice` unpacks. */
export const isOnDevice = (w: tf.Tensor): boolean => heldDtype(w) !== null && layouts.has(w.dataId);

/** Rows of a weight that `DevicePacking` holds: the numbers of `unpackedRows`, by TensorFlow's operations. */
export const unpackOnDevice: UnpackRows = (w, from, to) => {
  const layout = layouts.get(w.dataId)!;
  const width = w.size / w.shape[0];
  const [id] = nodeBackend().getInputTensorIds([w]);
  return RawOps.run(nodeBackend(), (ops) => {
    const unpack = layout.blocks === null ? rowsOfBytes : rowsOfPairs;
    const rows = unpack(ops, id, layout, { width, from, to });
    return nodeBackend().createOutputTensor(ops.keep(rows)) as tf.Tensor2D;
  });
};

type Rows = { width: number; from: number; to: number };

// (code · absmax) · (1 / 127), each product rounded.
function rowsOfBytes(ops: RawOps, id: number, layout: Layout, { width, from, to }: Rows): Handle {
  const bytes = slice(ops, id, TYPE.uint8, from * width, (to - from) * width);
  const codes = ops.op("Bitcast", [bytes.id], { T: TYPE.uint8, type: TYPE.int8 });
  const floats = ops.reshape(ops.cast(codes.id, TYPE.int8, TYPE.float32).id, TYPE.float32, [to - from, width]);
  const scales = ops.reshape(scalesOf(ops, id, layout, from, to).id, TYPE.float32, [to - from, 1]);
  const scaled = multiply(ops, floats.id, scales.id);
  return multiply(ops, scaled.id, ops.upload([], TYPE.float32, Float32Array.of(1 / 127)));
}

// The weights of whole blocks, two for each byte by the table, of which the rows are a part.
function rowsOfPairs(ops: RawOps, id: number, layout: Layout, { width, from, to }: Rows): Handle {
  const { size: blockSize, rounding } = layout.blocks!;
  const [first, last] = [Math.floor((from * width) / blockSize), Math.ceil((to * width) / blockSize)];
  const blocks = last - first;
  const bytes = slice(ops, id, TYPE.uint8, (first * blockSize) / 2, (blocks * blockSize) / 2);
  const indices = ops.cast(bytes.id, TYPE.uint8, TYPE.int32);
  const pairs = ops.reshape(floatsAt(ops, id, layout.codes + 4 * layout.scales, 512).id, TYPE.float32, [256, 2]);
  const axis = ops.upload([], TYPE.int32, Int32Array.of(0));
  const types = { Tparams: TYPE.float32, Tindices: TYPE.int32, Taxis: TYPE.int32 };
  const values = ops.op("GatherV2", [pairs.id, indices.id, axis], types);
  const byBlock = ops.reshape(values.id, TYPE.float32, [blocks, blockSize]);
  const scales = ops.reshape(scalesOf(ops, id, layout, first, last).id, TYPE.float32, [blocks, 1]);
  const products = multiply(ops, byBlock.id, scales.id);
  const flat = ops.reshape(rounded(ops, products, rounding).id, TYPE.float32, [blocks * blockSize]);
  const rows = slice(ops, flat.id, TYPE.float32, from * width - first * blockSize, (to - from) * width);
  return ops.reshape(rows.id, TYPE.float32, [to - from, width]);
}

function rounded(ops: RawOps, values: Handle, rounding: FloatDType): Handle {
  if (rounding === "F32") return values;
  const type = rounding === "BF16" ? TYPE.bfloat16 : TYPE.float16;
  return ops.cast(ops.cast(values.id, TYPE.float32, type).id, type, TYPE.float32);
}

const scalesOf = (ops: RawOps, id: number, { codes }: Layout, from: number, to: number): Handle =>
  floatsAt(ops, id, codes + 4 * from, to - from);

function floatsAt(ops: RawOps, id: number, begin: number, count: number): Handle {
  const bytes = ops.reshape(slice(ops, id, TYPE.uint8, begin, 4 * count).id, TYPE.uint8, [count, 4]);
  return ops.op("Bitcast", [bytes.id], { T: TYPE.uint8, type: TYPE.float32 });
}

const multiply = (ops: RawOps, a: number, b: number): Handle => ops.op("Mul", [a, b], { T: TYPE.float32 });

function slice(ops: RawOps, id: number, type: number, begin: number, size: number): Handle {
  const [at, count] = [begin, size].map((value) => ops.upload([1], TYPE.int32, Int32Array.of(value)));
  return ops.op("Slice", [id, at, count], { T: type, Index: TYPE.int32 });
}

/** All of a packed matrix in one array of bytes. */
function laidOut({ codes, tables }: Packed): { bytes: Uint8Array; layout: Layout } {
  const { absmax } = tables;
  const blocks = tables.kind === "int8" ? null : { size: tables.blockSize, rounding: tables.rounding };
  const whole = blocks === null ? codes.length : (absmax.length * blocks.size) / 2;
  const aligned = Math.ceil(whole / ALIGNMENT) * ALIGNMENT;
  const pairs = tables.kind === "int8" ? new Float32Array(0) : pairsOf(tables.codebook);
  const bytes = new Uint8Array(aligned + absmax.byteLength + pairs.byteLength);
  bytes.set(codes);
  bytes.set(bytesOf(absmax), aligned);
  bytes.set(bytesOf(pairs), aligned + absmax.byteLength);
  return { bytes, layout: { codes: aligned, scales: absmax.length, blocks } };
}

/** The weights of the high and of the low half of each byte. */
const pairsOf = (codebook: Float32Array): Float32Array =>
  Float32Array.from({ length: 512 }, (_, i) => codebook[i % 2 === 0 ? i >> 5 : (i >> 1) & 15]);

const bytesOf = ({ buffer, byteOffset, byteLength }: Float32Array): Uint8Array =>
  new Uint8Array(buffer, byteOffset, byteLength);
