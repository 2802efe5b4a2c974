// A linear probe on the projector's outputs: can the colour of what a patch shows be read off its row by one matrix?
// It is trained on the patches of half of the held-out pictures and judged on those of the other half.
import * as tf from "@tensorflow/tfjs";

import { PaliGemma } from "../src/index.js";
import { patchesOf, percent, scenes } from "./scenes.js";

const model = await PaliGemma.load();
const side = model.config.vision.imageSize / model.config.vision.patchSize;
const all = scenes(1);
const colors = [...new Set(all.flatMap(({ shapes }) => shapes.map(({ color }) => color)))].sort();
type Example = { row: Float32Array; color: number };

/** The rows of the patches that lie on a shape, and its colour. */
async function examplesOf({ file, shapes }: (typeof all)[number]): Promise<Example[]> {
  const { cache } = await model.runWithCache(
    { image: file, prompt: "" },
    { hooks: "projector.hook_out", stopAt: "needed" },
  );
  const values = await cache.values("projector.hook_out");
  cache.dispose();
  const D = values.length / side ** 2;
  return shapes.flatMap(({ box, color }) =>
    patchesOf(box, [side, side]).map((patch) => ({
      row: values.slice(patch * D, (patch + 1) * D),
      color: colors.indexOf(color),
    })),
  );
}

const examples: Example[][] = [];
for (const scene of all) examples.push(await examplesOf(scene));
const half = Math.floor(all.length / 2);
const [training, judged] = [examples.slice(0, half).flat(), examples.slice(half).flat()];
const matrix = (some: Example[]) => tf.tensor2d(some.map(({ row }) => Array.from(row)));
const labels = (some: Example[]) =>
  tf.tensor1d(
    some.map(({ color }) => color),
    "int32",
  );

const probe = tf.sequential({
  layers: [
    tf.layers.dense({
      units: colors.length,
      inputShape: [examples[0][0].row.length],
      kernelInitializer: "zeros",
      kernelRegularizer: tf.regularizers.l2({ l2: 1e-4 }),
    }),
  ],
});
const [x, y] = [matrix(training), labels(training)];
const optimizer = tf.train.adam(0.01);
for (let step = 0; step < 300; step++) {
  optimizer.minimize(
    () => tf.losses.softmaxCrossEntropy(tf.oneHot(y, colors.length), probe.apply(x) as tf.Tensor) as tf.Scalar,
  );
}
const right = (some: Example[]) =>
  tf.tidy(() => (probe.apply(matrix(some)) as tf.Tensor).argMax(-1).equal(labels(some)).mean().dataSync()[0]);
const counts = colors.map((_, color) => judged.filter((one) => one.color === color).length);
console.log(`${colors.length} colours; ${training.length} patches to learn from, ${judged.length} to judge by`);
console.log(`right on patches that it has learnt: ${percent(right(training))}`);
console.log(
  `right on patches of pictures that it has not seen: ${percent(right(judged))} (always the commonest: ${percent(Math.max(...counts) / judged.length)})`,
);
model.dispose();
