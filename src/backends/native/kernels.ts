import * as tf from "@tensorflow/tfjs";

import { type KernelName, KERNELS, type Signature } from "../../../layers/kernel.js";
import { knowAttributeNames } from "./attribute-names.js";
import { type KernelAddon, openKernelAddon } from "./kernel-addon.js";
import type { NativeInfo } from "./native-info.js";
import { type NodeBackend, nodeBackend } from "./raw-ops.js";
import type { IdleBackend } from "../../model/turns.js";
import { registerStockKernels } from "./stock-kernels.js";
import { kernelChoice } from "./variables.js";

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
  for (const kernelName of Object.keys(KERNELS) as KernelName[]) {
    // the addon multiplies packed weights by the same kernels as others
    if (kernelName === "PaligemmaProduct") continue;
    tf.registerKernel({ kernelName, backendName: "tensorflow", kernelFunc: kernelOf(kernelName) });
  }
  return true;
}

/** Whether 16-bit weights can be uploaded and multiplied by TensorFlow's own operations. */
export const hasStockKernels = (): boolean => stock;

/**
 * What is left to do when the backend "tensorflow" is the current one: its operations wait for the addon's kernels;
 * without the addon, 16-bit weights are multiplied by TensorFlow's own operations. `PALIGEMMA_KERNELS=stock` asks for
 * these although the addon is there, and `PALIGEMMA_KERNELS=gpu` for those of a GPU.
 */
export function completeKernels(): void {
  if (addon) synchronised(nodeBackend());
  else if (!stock) stock = registerStockKernels(nodeBackend(), onGpu || kernelChoice() === "gpu");
}

function kernelOf(name: KernelName): tf.KernelFunc {
  const { inputs: order, attributes: types = {}, outputs = 1 }: Signature = KERNELS[name];
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
 * Our kernels run beside JavaScript, in order, like those of a GPU: their outputs are filled in later. So whatever else
 * reads numbers of a tensor, an operation of TensorFlow's or JavaScript itself, first waits until they are done;
 * `whenIdle` tells of it.
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
