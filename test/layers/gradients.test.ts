import { strict as assert } from "node:assert";

import * as tf from "@tensorflow/tfjs";

import type { CheckpointLayer } from "../../layers/checkpoint-layer.js";
import { onEachBackend } from "../support/backends.js";
import { layerCases, random } from "./cases.js";

/** Whole numbers come in, or nothing is learnt; of ReLUs in a row, finite differences show corners and not slopes. */
const withoutGradients = ["TokenEmbedding", "PrefixLMMask", "KVCache", "RotaryEmbedding", "Codebook"];
const withCorners = ["ResidualConvolutions", "MaskDecoder", "MaskEncoder", "MaskVae"];
/** wasm has no kernel for the gradient of a convolution's weights. */
const notOnWasm = ["Convolution", "TransposedConvolution"];

/** Layers through which gradients flow to their first input and to their weights. */
const differentiable = layerCases.filter(({ name }) => ![...withoutGradients, ...withCorners].includes(name));

onEachBackend("gradients", (backend) => {
  for (const { name, make, inputs: fresh } of differentiable) {
    if (backend === "wasm" && notOnWasm.includes(name)) continue;
    it(`of ${name} equal finite differences, in the input and in the weights`, () => {
      const inputs = fresh();
      const layer = make();
      const [x, ...rest] = inputs;
      tf.dispose(layer.apply([x, ...rest]) as tf.Tensor);
      layer.weights.forEach((weight, i) => weight.write(random(weight.shape as number[], i + 3).mul(0.3)));
      const loss = (at: tf.Tensor) => (layer.apply([at, ...rest]) as tf.Tensor).square().mean() as tf.Scalar;
      const direction = random(x.shape, 99);
      // Four points: the error falls with the fourth power of the step, so that it may be large against float32's
      // noise.
      const h = 5e-3;
      const slope = (along: (shift: number) => number) =>
        (8 * (along(h) - along(-h)) - (along(2 * h) - along(-2 * h))) / (12 * h);
      const check = (what: string, gradient: number, difference: number) =>
        assert.ok(
          Math.abs(gradient - difference) < 5e-3 * Math.max(1, Math.abs(difference)),
          `${what}: ${gradient} against ${difference}`,
        );
      tf.tidy(() => {
        const byTape = tf.grad(loss)(x).mul(direction).sum().dataSync()[0];
        check(
          "input",
          byTape,
          slope((shift) => loss(x.add(direction.mul(shift))).dataSync()[0]),
        );
        if (layer.weights.length > 0) checkWeights(layer, () => loss(x), slope, check);
      });
      tf.dispose([...inputs, direction]);
      layer.dispose();
    });
  }
});

function checkWeights(
  layer: CheckpointLayer,
  loss: () => tf.Scalar,
  slope: (along: (shift: number) => number) => number,
  check: (what: string, gradient: number, difference: number) => void,
): void {
  const { grads } = tf.variableGrads(
    loss,
    layer.weights.map((weight) => weight.read() as tf.Variable),
  );
  layer.weights.forEach((weight, i) => {
    const value = weight.read().clone();
    const direction = random(weight.shape as number[], 50 + i);
    const byTape = Object.values(grads).find(
      (_, at) => Object.keys(grads)[at] === (weight.read() as tf.Variable).name,
    )!;
    const along = (shift: number) => {
      weight.write(value.add(direction.mul(shift)));
      return loss().dataSync()[0];
    };
    check(weight.originalName, byTape.mul(direction).sum().dataSync()[0], slope(along));
    weight.write(value);
  });
}
