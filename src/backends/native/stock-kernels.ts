import * as tf from "@tensorflow/tfjs";

import { dense, heldDtype, markHeld } from "../../../layers/stored.js";
import type { KernelName } from "../../../layers/kernel.js";
import { batchMatMul } from "../../../layers/matmul.js";
import type { FloatDType } from "../../../weights/dtype.js";
import { toFloat32 } from "../../../weights/dtype.js";
import type { Packing } from "../../../weights/holder.js";
import { packedEmbed, packedProduct, packedWiden } from "../packed/block-kernels.js";
import { UnmappedHolder } from "../packed/unmapped-holder.js";
import { DevicePacking, isOnDevice, unpackOnDevice } from "./device-packing.js";
import { type Handle, labelled, type NodeBackend, nodeBackend, RawOps, TYPE } from "./raw-ops.js";

/**
 * 16-bit weights by TensorFlow's own operations: on a GPU, and on a CPU for which the project's kernels are not built.
 * Weights are uploaded once. On a GPU a product rounds the activations to the weights' type, and its result as well; on
 * a CPU each weight is widened while it is used, which is exact and slow.
 */
export class UploadingHolder extends UnmappedHolder {
  readonly packing: DevicePacking;

  /** `formOf`: the form that a matrix is packed into at loading, null for none. */
  constructor(
    readonly dtype: FloatDType | null,
    formOf: Packing["formOf"],
  ) {
    super();
    this.packing = new DevicePacking(formOf);
  }

  held(bytes: Uint8Array, dtype: FloatDType, shape: readonly number[]): tf.Tensor {
    if (dtype === "F32") return tf.tensor(toFloat32(bytes, dtype), [...shape]);
    const [type, name] =
      dtype === "BF16" ? ([TYPE.bfloat16, "bfloat16"] as const) : ([TYPE.float16, "float16"] as const);
    // One row for each output, as products want it.
    const matrix = shape.length > 1 ? [shape[0], bytes.length / 2 / shape[0]] : [1, bytes.length / 2];
    const handle = RawOps.run(nodeBackend(), (ops) => ops.keep(upload(ops, bytes, dtype, type, matrix)));
    return markHeld(labelled(handle, shape), name);
  }
}

// tfjs-node takes no array of 16 bit: two numbers travel as one int32, which Bitcast takes apart without touching a
// bit.
function upload(ops: RawOps, bytes: Uint8Array, dtype: FloatDType, type: number, shape: number[]) {
  const count = bytes.length / 2;
  if (count % 2 === 1) {
    const wide = ops.upload([count], TYPE.float32, toFloat32(bytes, dtype));
    return ops.reshape(ops.cast(wide, TYPE.float32, type).id, type, shape);
  }
  const pairs = ops.upload([count / 2], TYPE.int32, new Int32Array(bytes.slice().buffer));
  const taken = ops.op("Bitcast", [pairs], { T: TYPE.int32, type });
  const reshaped = ops.reshape(taken.id, type, shape);
  return ops.op("Identity", [reshaped.id], { T: type }); // moves it to the device
}

/**
 * Registers what 16-bit weights need for the backend "tensorflow", if its TensorFlow knows them; else returns false.
 * `rounding`: products in 16 bit, as on a GPU.
 */
export function registerStockKernels(backend: NodeBackend, rounding: boolean): boolean {
  if (![TYPE.bfloat16, TYPE.float16].every((type) => multiplies(backend, type))) return false;
  const kernels: Partial<Record<KernelName, (inputs: Inputs, attributes: Record<string, number>) => tf.Tensor>> = {
    PaligemmaProduct: ({ x, w }) => {
      if (isOnDevice(w)) return packedProduct(x, w, unpackOnDevice);
      return rounding ? product(x, w) : tf.tidy(() => batchMatMul(x, dense(w).reshape([w.shape[0], -1]), true));
    },
    PaligemmaEmbed: ({ ids, w }, { scale }) => embed(ids, w, scale),
    PaligemmaWiden: ({ w }) =>
      isOnDevice(w) ? packedWiden(w, unpackOnDevice) : RawOps.run(nodeBackend(), (ops) => widened(ops, idOf(w), w)),
  };
  for (const [kernelName, compute] of Object.entries(kernels)) {
    const kernelFunc: tf.KernelFunc = ({ inputs, attrs }) => compute(inputs as Inputs, attrs as Record<string, number>);
    tf.registerKernel({ kernelName, backendName: "tensorflow", kernelFunc });
  }
  return true;
}

/** Whether the TensorFlow at hand multiplies a type: 2 · 3 = 6. */
function multiplies(backend: NodeBackend, type: number): boolean {
  try {
    return RawOps.run(backend, (ops) => {
      const [two, three] = [2, 3].map((value) =>
        ops.cast(ops.upload([1, 1], TYPE.float32, Float32Array.of(value)), TYPE.float32, type),
      );
      const six = ops.op("BatchMatMulV2", [two.id, three.id], { T: type }, { adj_x: false, adj_y: true });
      return (backend.binding.tensorDataSync(ops.cast(six.id, type, TYPE.float32).id) as Float32Array)[0] === 6;
    });
  } catch {
    return false;
  }
}

type Inputs = Record<string, tf.Tensor>;

const typeOf = (w: tf.Tensor): number => TYPE[(heldDtype(w) ?? "float32") as keyof typeof TYPE];

const idOf = (x: tf.Tensor): number => nodeBackend().getInputTensorIds([x])[0];

// x [M, in] · wᵀ in the type of w, and back to float32.
function product(x: tf.Tensor, w: tf.Tensor): tf.Tensor {
  const T = typeOf(w);
  return RawOps.run(nodeBackend(), (ops) => {
    const narrow = ops.cast(idOf(x), TYPE.float32, T);
    const y = ops.op("BatchMatMulV2", [narrow.id, idOf(w)], { T }, { adj_x: false, adj_y: true });
    return result(ops, ops.cast(y.id, T, TYPE.float32));
  });
}

function embed(ids: tf.Tensor, w: tf.Tensor, scale: number): tf.Tensor {
  if (heldDtype(w) === null) return tf.tidy(() => tf.gather(w, ids).mul(scale));
  if (isOnDevice(w)) return packedEmbed(ids, w, scale, unpackOnDevice);
  const rows = RawOps.run(nodeBackend(), (ops) => {
    const axis = ops.upload([], TYPE.int32, Int32Array.of(0));
    const types = { Tparams: typeOf(w), Tindices: TYPE.int32, Taxis: TYPE.int32 };
    const gathered = ops.op("GatherV2", [idOf(w), idOf(ids), axis], types);
    return result(ops, ops.cast(gathered.id, typeOf(w), TYPE.float32));
  });
  return tf.tidy(() => {
    const scaled = rows.mul(scale);
    rows.dispose();
    return scaled;
  });
}

const widened = (ops: RawOps, id: number, w: tf.Tensor): tf.Tensor =>
  result(ops, ops.cast(id, typeOf(w), TYPE.float32));

const result = (ops: RawOps, handle: Handle): tf.Tensor => nodeBackend().createOutputTensor(ops.keep(handle));
