import * as tf from "@tensorflow/tfjs";

import type { KernelName } from "../../../layers/kernel.js";
import { knowAttributeNames } from "./attribute-names.js";
import { type KernelAddon, openKernelAddon } from "./kernel-addon.js";
import type { NativeInfo } from "./native-info.js";
import { type NodeBackend, nodeBackend } from "./raw-ops.js";
import type { IdleBackend } from "../../model/turns.js";
import { registerStockKernels } from "./stock-kernels.js";
import { kernelChoice } from "./variables.js";

/** Order of the inputs of each operation in native/ops/, the type of each of its attributes, and its outputs if there are several. */
const OPERATIONS: Record<
  Exclude<KernelName, "PaligemmaProduct">,
  { inputs: string[]; attributes?: Record<string, "int" | "float">; outputs?: number }
> = {
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
};

/** TensorFlow operations that hand memory on and read none of it. */
const METADATA_ONLY = new Set(["Reshape", "Identity", "ExpandDims", "Squeeze"]);

let addon: KernelAddon | null = null;

let stock = false;
let onGpu = false;

/** The addon in use, or null without one. */
export const kernelAddon = (): KernelAddon | null => addon;

/**
 * Opens the addon beside the package and registers its kernels for the backend "tensorflow". Returns false, and changes
 * nothing, where setup has not built it, and on a GPU, whose memory its kernels cannot read.
 */
export function registerKernels({ folder, gpu }: Pick<NativeInfo, "folder" | "gpu">): boolean {
  if (addon) return true;
  onGpu = gpu;
  addon = gpu || kernelChoice() !== "own" ? null : openKernelAddon(folder);
  if (!addon) return false;
  for (const kernelName of Object.keys(OPERATIONS) as (keyof typeof OPERATIONS)[]) {
    tf.registerKernel({ kernelName, backendName: "tensorflow", kernelFunc: kernelOf(kernelName) });
  }
  return true;
}

/** Whether 16-bit weights can be uploaded and multiplied by TensorFlow's own operations. */
export const hasStockKernels = (): boolean => stock;

/**
 * What is left to do when the backend "tensorflow" is the current one: its operations wait for the addon's kernels; without the
 * addon, 16-bit weights are multiplied by TensorFlow's own operations. `PALIGEMMA_KERNELS=stock` asks for these although the addon is
 * there, and `PALIGEMMA_KERNELS=gpu` for those of a GPU.
 */
export function completeKernels(): void {
  if (addon) synchronised(nodeBackend());
  else if (!stock) stock = registerStockKernels(nodeBackend(), onGpu || kernelChoice() === "gpu");
}

function kernelOf(name: keyof typeof OPERATIONS): tf.KernelFunc {
  const { inputs: order, attributes: types = {}, outputs = 1 } = OPERATIONS[name];
  return ({ inputs, attrs, backend }) => {
    const node = backend as unknown as NodeBackend;
    const { TF_ATTR_INT, TF_ATTR_FLOAT } = synchronised(node).binding;
    const attributes = Object.entries(types).map(([attribute, type]) => ({
      name: attribute,
      type: type === "int" ? TF_ATTR_INT : TF_ATTR_FLOAT,
      value: attrs![attribute],
    }));
    const operands = order.map((input) => (inputs as Record<string, tf.TensorInfo>)[input]);
    return outputs > 1
      ? node.executeMultipleOutputs(name, attributes, operands, outputs)
      : node.executeSingleOutput(name, attributes, operands);
  };
}

const synchronisedBackends = new WeakSet<object>();

/**
 * Our kernels run beside JavaScript, in order, like those of a GPU: their outputs are filled in later. So whatever else reads
 * numbers of a tensor, an operation of TensorFlow's or JavaScript itself, first waits until they are done; `whenIdle` tells of it.
 */
function synchronised(backend: NodeBackend): NodeBackend {
  if (synchronisedBackends.has(backend)) return backend;
  const { binding } = backend;
  const { executeOp, tensorDataSync } = binding;
  knowAttributeNames(binding, addon!);
  backend.binding = Object.create(binding, {
    executeOp: {
      value(name: string, ...rest: unknown[]) {
        if (!name.startsWith("Paligemma") && !METADATA_ONLY.has(name)) addon!.wait();
        return Reflect.apply(executeOp, binding, [name, ...rest]);
      },
    },
    tensorDataSync: {
      value(id: number) {
        addon!.wait();
        return Reflect.apply(tensorDataSync, binding, [id]);
      },
    },
  });
  const idle: IdleBackend = { whenIdle: () => addon!.idle() };
  Object.assign(backend, idle);
  synchronisedBackends.add(backend);
  return backend;
}
