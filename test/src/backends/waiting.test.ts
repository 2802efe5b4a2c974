import { strict as assert } from "node:assert";
import path from "node:path";

import * as tf from "@tensorflow/tfjs";

import { type NodeBackend, nodeBackend } from "../../../src/backends/native/raw-ops.js";
import { fixtures, modelInputs, readReference } from "../../parity/reference.js";
import { withKernels } from "../../support/backends.js";
import { tinyNetwork } from "../../support/tiny.js";

/** Operations of TensorFlow's that read no numbers, and so need not wait for them. */
const METADATA = ["Reshape", "Identity", "ExpandDims", "Squeeze"];

/** The names of the operations that `body` runs. */
function operationsOf(body: () => void): string[] {
  const backend: NodeBackend = nodeBackend();
  const { binding } = backend;
  const names: string[] = [];
  const noted = (name: string, ...rest: unknown[]): unknown => {
    names.push(name);
    return Reflect.apply(binding.executeOp, binding, [name, ...rest]);
  };
  backend.binding = Object.create(binding, { executeOp: { value: noted } }) as NodeBackend["binding"];
  try {
    body();
  } finally {
    backend.binding = binding;
  }
  return names;
}

withKernels("a pass over picture and prompt on the project's kernels", () => {
  for (const name of ["tiny-pg1", "tiny-pg2"]) {
    it(`waits for no number between its first kernel and its last: ${name}`, async () => {
      const model = await tinyNetwork(name);
      const inputs = modelInputs(await readReference(path.join(fixtures, "references", name, "prompt")));
      try {
        const run = () => {
          const state = model.newState();
          model.forward(inputs, { rows: "last", state }).dispose();
          state.dispose();
        };
        run(); // what is made once is there
        const names = operationsOf(run);
        const ours = names.map((one) => one.startsWith("Paligemma"));
        const between = names.slice(ours.indexOf(true), ours.lastIndexOf(true));
        const waiting = between.filter((one) => !one.startsWith("Paligemma") && !METADATA.includes(one));
        assert.ok(between.length > 20, `only ${between.length} operations were seen`);
        assert.deepEqual(waiting, []);
      } finally {
        tf.dispose(inputs.pixelValues ?? []);
        model.dispose();
      }
    });
  }
});
