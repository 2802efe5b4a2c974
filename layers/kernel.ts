import * as tf from "@tensorflow/tfjs";

/** Operands in order, attributes with their types, and how many results there are where there are several. */
export type Signature = {
  readonly inputs: readonly string[];
  readonly attributes?: Readonly<Record<string, "int" | "float">>;
  readonly outputs?: number;
};

/**
 * Every kernel that a backend may have of its own, declared once: `runKernel` is typed by it, and a backend finds
 * operands and attributes in it. Each is an operation that the layers also know in plain TensorFlow.js. Where one does
 * several steps at once, the steps have kernels as well, for runs with a listener between them; they give the same
 * bits: looking must not change what is seen.
 */
export const KERNELS = {
  // Of packed weights, in JavaScript or by TensorFlow's own operations; the addon's kernels read these as they are.
  PaligemmaProduct: { inputs: ["x", "w"] },
  PaligemmaLinear: { inputs: ["x", "w"], attributes: { activation: "int", coarse: "int", inner: "int" } },
  PaligemmaLinearBias: {
    inputs: ["x", "w", "bias"],
    attributes: { activation: "int", coarse: "int", inner: "int" },
  },
  PaligemmaHeads: { inputs: ["x", "q", "k", "v"], attributes: { headDim: "int", coarse: "int" }, outputs: 3 },
  PaligemmaHeadsBias: {
    inputs: ["x", "q", "k", "v", "qBias", "kBias", "vBias"],
    attributes: { headDim: "int", coarse: "int" },
    outputs: 3,
  },
  PaligemmaGatedMlp: { inputs: ["x", "gate", "up", "down"], attributes: { coarse: "int", among: "int" } },
  PaligemmaMlp: { inputs: ["x", "fc1", "bias1", "fc2", "bias2"], attributes: { coarse: "int" } },
  PaligemmaGelu: { inputs: ["x"] },
  PaligemmaRmsNorm: { inputs: ["x", "weight"], attributes: { eps: "float" } },
  PaligemmaRmsScale: { inputs: ["x"], attributes: { eps: "float" } },
  PaligemmaRmsScaled: { inputs: ["x", "scale", "weight"] },
  PaligemmaLayerNorm: { inputs: ["x", "weight", "bias"], attributes: { eps: "float" } },
  PaligemmaLayerScale: { inputs: ["x"], attributes: { eps: "float" } },
  PaligemmaLayerScaled: { inputs: ["x", "scale", "weight", "bias"] },
  PaligemmaRope: { inputs: ["x", "cos", "sin"] },
  PaligemmaAttend: { inputs: ["q", "k", "v", "mask"], attributes: { scale: "float", softcap: "float" } },
  PaligemmaAttendOpen: { inputs: ["q", "k", "v"], attributes: { scale: "float", softcap: "float" } },
  PaligemmaScores: { inputs: ["q", "k", "mask"], attributes: { scale: "float", softcap: "float" } },
  PaligemmaScoresOpen: { inputs: ["q", "k"], attributes: { scale: "float", softcap: "float" } },
  PaligemmaSoftmax: { inputs: ["x"] },
  PaligemmaMix: { inputs: ["pattern", "v"] },
  PaligemmaRoom: { inputs: ["shape"] },
  PaligemmaWriteCache: { inputs: ["keys", "values", "k", "v", "position"] },
  PaligemmaEmbed: { inputs: ["ids", "w"], attributes: { scale: "float" } },
  PaligemmaLastRow: { inputs: ["x"] },
  PaligemmaPick: { inputs: ["first", "second", "index"] },
  PaligemmaMask: { inputs: ["real", "types"], attributes: { window: "int", queries: "int", masked: "float" } },
  PaligemmaAdd: { inputs: ["a", "b"] },
  PaligemmaSoftcap: { inputs: ["x"], attributes: { softcap: "float" } },
  PaligemmaWiden: { inputs: ["w"] },
} as const satisfies Record<string, Signature>;

/** The declarations by name. */
export type KernelSignatures = typeof KERNELS;

/** The name of a kernel. */
export type KernelName = keyof KernelSignatures;

/** Kernels of several results. */
export type SeveralResults = {
  [Name in KernelName]: KernelSignatures[Name] extends { readonly outputs: number } ? Name : never;
}[KernelName];

/** Kernels of one result. */
export type OneResult = Exclude<KernelName, SeveralResults>;

/** A kernel's operands, by name. */
export type Operands<Name extends KernelName> = Record<KernelSignatures[Name]["inputs"][number], tf.Tensor>;

/** A kernel's attributes, by name; numbers. */
export type Attributes<Name extends KernelName> = KernelSignatures[Name] extends {
  readonly attributes: infer Types extends object;
}
  ? Record<keyof Types, number>
  : Record<never, number>;

/** The attributes as the last argument of a call, which a kernel without any does not take. */
type AttributeArguments<Name extends KernelName> = KernelSignatures[Name] extends { readonly attributes: object }
  ? [attributes: Attributes<Name>]
  : [];

/** Whether `runKernel` would run that kernel now. */
export const hasKernel = (name: KernelName): boolean =>
  !tf.engine().isTapeOn() && tf.getKernel(name, tf.getBackend()) !== undefined;

/**
 * Runs the current backend's own kernel, or returns null where it has none: the caller then computes the plain form.
 * The same while a gradient is recorded, for the tape knows the plain operations only. The caller owns the result.
 */
export function runKernel<Name extends OneResult>(
  name: Name,
  inputs: Operands<Name>,
  ...attributes: AttributeArguments<Name>
): tf.Tensor | null {
  return tf.engine().isTapeOn() ? null : (call(name, inputs, attributes[0]) as tf.Tensor | null);
}

/** `runKernel` for a kernel of several results. */
export function runKernels<Name extends SeveralResults>(
  name: Name,
  inputs: Operands<Name>,
  ...attributes: AttributeArguments<Name>
): tf.Tensor[] | null {
  return tf.engine().isTapeOn() ? null : (call(name, inputs, attributes[0]) as tf.Tensor[] | null);
}

/** `runKernel` also while a gradient is recorded; to the tape its result is a constant. */
export function runUntaped<Name extends OneResult>(
  name: Name,
  inputs: Operands<Name>,
  ...attributes: AttributeArguments<Name>
): tf.Tensor | null {
  return call(name, inputs, attributes[0]) as tf.Tensor | null;
}

function call(
  name: KernelName,
  inputs: Record<string, tf.Tensor>,
  attributes: Record<string, number> = {},
): tf.TensorInfo | tf.TensorInfo[] | null {
  const kernel = tf.getKernel(name, tf.getBackend());
  // Called past the engine, whose own way would put a node on the tape that has no gradient.
  return kernel ? kernel.kernelFunc({ inputs, attrs: attributes, backend: tf.backend() }) : null;
}
