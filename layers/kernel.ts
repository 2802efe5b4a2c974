import * as tf from "@tensorflow/tfjs";

/**
 * Kernels that a backend may have of its own. Each is an operation that the layers here also know in plain TensorFlow.js. Where
 * one does several steps at once, the steps have kernels as well, for when somebody listens between them; they give the same
 * bits: looking must not change what is seen.
 */
export type KernelName = OneResult | SeveralResults;

/** Kernels of one result. */
export type OneResult =
  | "PaligemmaLinear"
  | "PaligemmaLinearBias"
  | "PaligemmaProduct"
  | "PaligemmaGatedMlp"
  | "PaligemmaMlp"
  | "PaligemmaGelu"
  | "PaligemmaRmsNorm"
  | "PaligemmaRmsScale"
  | "PaligemmaRmsScaled"
  | "PaligemmaLayerNorm"
  | "PaligemmaLayerScale"
  | "PaligemmaLayerScaled"
  | "PaligemmaRope"
  | "PaligemmaAttend"
  | "PaligemmaAttendOpen"
  | "PaligemmaScores"
  | "PaligemmaScoresOpen"
  | "PaligemmaSoftmax"
  | "PaligemmaMix"
  | "PaligemmaRoom"
  | "PaligemmaWriteCache"
  | "PaligemmaEmbed"
  | "PaligemmaAdd"
  | "PaligemmaLastRow"
  | "PaligemmaPick"
  | "PaligemmaMask"
  | "PaligemmaSoftcap"
  | "PaligemmaWiden";

/** Kernels of several results. */
export type SeveralResults = "PaligemmaHeads" | "PaligemmaHeadsBias";

type Inputs = Record<string, tf.Tensor>;
type Attributes = Record<string, number>;

/** Whether `runKernel` would run that kernel now. */
export const hasKernel = (name: KernelName): boolean =>
  !tf.engine().isTapeOn() && tf.getKernel(name, tf.getBackend()) !== undefined;

/**
 * Runs the current backend's own kernel, or returns null where it has none: the caller then computes the plain form. The same
 * while a gradient is recorded, for the tape knows the plain operations only. The caller owns the result.
 */
export function runKernel(name: OneResult, inputs: Inputs, attributes: Attributes = {}): tf.Tensor | null {
  return tf.engine().isTapeOn() ? null : runUntaped(name, inputs, attributes);
}

/** `runKernel` for a kernel of several results. */
export function runKernels(name: SeveralResults, inputs: Inputs, attributes: Attributes = {}): tf.Tensor[] | null {
  return tf.engine().isTapeOn() ? null : (call(name, inputs, attributes) as tf.Tensor[] | null);
}

/** `runKernel` also while a gradient is recorded; to the tape its result is a constant. */
export function runUntaped(name: OneResult, inputs: Inputs, attributes: Attributes = {}): tf.Tensor | null {
  return call(name, inputs, attributes) as tf.Tensor | null;
}

function call(name: KernelName, inputs: Inputs, attributes: Attributes): tf.TensorInfo | tf.TensorInfo[] | null {
  const kernel = tf.getKernel(name, tf.getBackend());
  // Called past the engine, whose own way would put a node on the tape that has no gradient.
  return kernel ? kernel.kernelFunc({ inputs, attrs: attributes, backend: tf.backend() }) : null;
}
