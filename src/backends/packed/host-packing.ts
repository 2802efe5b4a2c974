import * as tf from "@tensorflow/tfjs";

import { heldDtype, markHeld } from "../../../layers/stored.js";
import type { KernelName } from "../../../layers/kernel.js";
import { type FloatDType, toFloat32 } from "../../../weights/dtype.js";
import type { PackedMatrix, Packing } from "../../../weights/holder.js";
import type { Packed } from "../../../weights/quantised/pack.js";
import { unpackedRows } from "../../../weights/quantised/packed-form.js";
import { packedEmbed, packedProduct, packedWiden, type UnpackRows } from "./block-kernels.js";
import { StagedPacking } from "./staged-packing.js";
import { UnmappedHolder } from "./unmapped-holder.js";

/** The packed matrices behind tensors, by their data; with these they go. */
const matrices = new WeakMap<object, Packed>();

/**
 * Keeps matrices of 8 and 4 bit in the memory of the program, for a backend that multiplies float32 only: they are
 * unpacked piece by piece whenever they are used, which is slow. Everything else becomes float32.
 */
export class HostHolder extends UnmappedHolder {
  readonly packing: StagedPacking;

  /** `dtype`: "F32" unpacks what a file has packed; null leaves it so. `formOf`: what is packed at loading. */
  constructor(
    backend: string,
    readonly dtype: "F32" | null,
    formOf: Packing["formOf"],
  ) {
    super();
    this.packing = new HostPacking(backend, formOf);
  }

  held = (bytes: Uint8Array, dtype: FloatDType, shape: readonly number[]): tf.Tensor =>
    tf.tensor(toFloat32(bytes, dtype), [...shape], "float32");
}

class HostPacking extends StagedPacking {
  constructor(
    private readonly backend: string,
    formOf: Packing["formOf"],
  ) {
    super(formOf);
  }

  hold(packed: PackedMatrix): tf.Tensor {
    registerHostKernels(this.backend);
    const tensor = labelled(packed.shape);
    matrices.set(tensor.dataId, this.claim(packed));
    return markHeld(tensor, packed.form);
  }
}

/** A tensor that TensorFlow.js takes for a float32 matrix of `shape`; behind it is one number. */
function labelled(shape: readonly number[]): tf.Tensor {
  const one = tf.scalar(0);
  // As a reshaped tensor does: the data go with the last of those that share them.
  (tf.backend() as unknown as { incRef(dataId: object): void }).incRef(one.dataId);
  const tensor = tf
    .engine()
    .makeTensorFromTensorInfo({ dataId: one.dataId, shape: [...shape], dtype: "float32" }) as tf.Tensor;
  one.dispose();
  return tensor;
}

const unpack: UnpackRows = (w, from, to) => {
  const { codes, tables } = matrices.get(w.dataId)!;
  const width = w.size / w.shape[0];
  return tf.tensor2d(unpackedRows(codes, tables, { width, from, to }), [to - from, width]);
};

const registered = new Set<string>();

/** Registers what packed weights need for a backend, once. Other weights are computed with as if it had not been. */
function registerHostKernels(backendName: string): void {
  if (registered.has(backendName)) return;
  registered.add(backendName);
  type Inputs = Record<string, tf.Tensor>;
  const kernels: Partial<Record<KernelName, (inputs: Inputs, scale: number) => tf.Tensor>> = {
    PaligemmaProduct: ({ x, w }) => packedProduct(x, w, unpack),
    PaligemmaEmbed: ({ ids, w }, scale) =>
      heldDtype(w) === null ? tf.tidy(() => tf.gather(w, ids).mul(scale)) : packedEmbed(ids, w, scale, unpack),
    PaligemmaWiden: ({ w }) => packedWiden(w, unpack),
  };
  for (const [kernelName, compute] of Object.entries(kernels)) {
    const kernelFunc: tf.KernelFunc = ({ inputs, attrs }) =>
      compute(inputs as Inputs, (attrs as { scale?: number })?.scale ?? 1);
    tf.registerKernel({ kernelName, backendName, kernelFunc });
  }
}
