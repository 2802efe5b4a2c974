import { strict as assert } from "node:assert";

import * as tf from "@tensorflow/tfjs";

import type { CheckpointLayer } from "../../layers/checkpoint-layer.js";
import { KVCache, TiedUnembedding } from "../../layers/index.js";
import { counts, onEachBackend } from "../support/backends.js";
import { type LayerCase, layerCases, random } from "./cases.js";

const apply = (layer: CheckpointLayer, inputs: tf.Tensor[]) =>
  layer.apply(inputs.length === 1 ? inputs[0] : inputs) as tf.Tensor | tf.Tensor[];
const first = (value: tf.Tensor | tf.Tensor[]) => (Array.isArray(value) ? value[0] : value);

/** Weights far from any special value, the same for every instance. */
function randomise(layer: CheckpointLayer): void {
  layer.weights.forEach((weight, i) => {
    const value = random(weight.shape as number[], i + 3);
    weight.write(value);
    value.dispose();
  });
}

/** The layer built and randomised; an unembedding's shared table counts as its own here. */
function ready({ make }: LayerCase, inputs: tf.Tensor[]): CheckpointLayer {
  const layer = make();
  tf.dispose(apply(layer, inputs));
  randomise(layer);
  return layer;
}

onEachBackend("every layer", () => {
  for (const layerCase of layerCases) {
    const { name, make, inputs: fresh, weights } = layerCase;
    describe(name, () => {
      let inputs: tf.Tensor[];
      beforeEach(() => {
        inputs = fresh();
      });
      afterEach(() => tf.dispose(inputs));

      it("is a registered tf.layers.Layer", () => {
        const layer = make();
        assert.ok(layer instanceof tf.layers.Layer);
        const [registered] = tf.serialization.SerializationMap.getMap().classNameMap[layer.getClassName()];
        assert.equal(registered.className, layer.getClassName());
      });

      it("names its weights as checkpoints do", () => {
        const layer = ready(layerCase, inputs);
        // Behind the layer's own scope; a name that the process has seen before ends in _1, _2 and so on.
        const names = layer.weights.map((weight) => weight.originalName.split("/").slice(1).join("/"));
        assert.deepEqual(names, weights);
        layer.dispose();
      });

      it("gives the same result when it is read back from its config", () => {
        const layer = ready(layerCase, inputs);
        const config = JSON.parse(JSON.stringify(layer.getConfig()));
        const Class = layer.constructor as tf.serialization.SerializableConstructor<CheckpointLayer> & {
          fromConfig: (cls: unknown, config: unknown) => CheckpointLayer;
        };
        const copy = Class.fromConfig(Class, config);
        tf.dispose(apply(copy, inputs));
        for (const one of [layer, copy]) if (one instanceof KVCache) one.reset();
        if (layer instanceof TiedUnembedding) {
          assert.equal(copy.weights.length, 1, "the copy owns a table");
        } else {
          randomise(copy);
          const [a, b] = [layer, copy].map((one) => first(apply(one, inputs)).dataSync());
          assert.deepEqual(a, b);
        }
        layer.dispose();
        copy.dispose();
      });

      it("works inside somebody's own tf.model and gives what it gives alone", () => {
        if (make() instanceof KVCache) return; // a cache remembers: the same call twice is not the same
        const layer = ready(layerCase, inputs);
        const symbols = inputs.map((x) => tf.input({ batchShape: x.shape, dtype: x.dtype }));
        const output = layer.apply(symbols.length === 1 ? symbols[0] : symbols) as tf.SymbolicTensor;
        const model = tf.model({ inputs: symbols, outputs: output });
        const alone = first(apply(layer, inputs));
        const inModel = first(model.predict(inputs.length === 1 ? inputs[0] : inputs, { batchSize: 2 }) as tf.Tensor);
        assert.deepEqual(inModel.shape, alone.shape);
        assert.deepEqual(output.shape, alone.shape, "computeOutputShape");
        assert.deepEqual(inModel.dataSync(), alone.dataSync());
        tf.dispose([alone, inModel]);
        layer.dispose();
      });

      it("comes back from a saved topology, and with the same weights gives the same result", async () => {
        if (make() instanceof KVCache) return;
        const layer = ready(layerCase, inputs);
        const symbols = inputs.map((x) => tf.input({ batchShape: x.shape, dtype: x.dtype }));
        const output = layer.apply(symbols.length === 1 ? symbols[0] : symbols) as tf.SymbolicTensor;
        const model = tf.model({ inputs: symbols, outputs: output });
        const copy = await tf.models.modelFromJSON({ modelTopology: JSON.parse(model.toJSON() as string) });
        assert.equal(copy.layers.at(-1)!.getClassName(), layer.getClassName());
        const own = layer instanceof TiedUnembedding ? tableOf(layer).getWeights() : model.getWeights();
        copy.setWeights(own);
        const x = inputs.length === 1 ? inputs[0] : inputs;
        const [a, b] = [model, copy].map((one) => first(one.predict(x, { batchSize: 2 }) as tf.Tensor));
        assert.deepEqual(b.dataSync(), a.dataSync());
        tf.dispose([a, b]);
        discard(layer);
      });

      it("leaves behind one tensor per result of a second call, and nothing after dispose", () => {
        // The native backend takes an input's bytes over at its first use, which for a cache is its second call.
        const warm = ready(layerCase, inputs);
        tf.dispose(apply(warm, inputs));
        discard(warm);
        const before = counts();
        const layer = ready(layerCase, inputs);
        const built = counts();
        const result = apply(layer, inputs);
        const called = counts();
        const results = Array.isArray(result) ? result.length : 1;
        assert.equal(called.tensors - built.tensors, results);
        tf.dispose(result);
        discard(layer);
        assert.deepEqual(counts(), before);
      });

      it("has no trainable weight when it is frozen", () => {
        const layer = ready(layerCase, inputs);
        const all = layer.weights.length;
        layer.trainable = false;
        assert.equal(layer.trainableWeights.length, 0);
        assert.equal(layer.weights.length, all);
        layer.dispose();
      });
    });
  }
});

/** Disposes a layer; of an unembedding also the table, which belongs to somebody else. */
function discard(layer: CheckpointLayer): void {
  layer.dispose();
  if (layer instanceof TiedUnembedding) tableOf(layer).dispose();
}

const tableOf = (layer: TiedUnembedding): CheckpointLayer =>
  (layer as unknown as { embedding: CheckpointLayer }).embedding;
