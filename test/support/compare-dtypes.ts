import * as tf from "@tensorflow/tfjs";

import type { BackendName } from "../../src/backend.js";
import type { Dtype, DtypeChoice } from "../../src/dtypes.js";
import { PaliGemma } from "../../src/paligemma.js";

/** How far a run is from the float32 run of the same model: KL divergence in nats, and agreement of the best token. */
export type Comparison = { positions: number; meanKl: number; largestKl: number; agreement: number; dtype: Dtype };

/** Pictures that are nothing in particular, the same each time. */
const picture = (seed: number) => ({
  data: Uint8Array.from({ length: 64 * 48 * 3 }, (_, i) => (i * (37 + 2 * seed) + (i >> (seed % 7)) * 11) % 256),
  width: 64,
  height: 48,
});

/** The log-probabilities of every position of `count` questions to the demo checkpoint. */
async function logProbabilities(model: PaliGemma, count: number): Promise<Float32Array[]> {
  const runs: Float32Array[] = [];
  for (let seed = 0; seed < count; seed++) {
    const logits = await model.forward({ image: picture(seed), prompt: `answer en what is at the left ${seed}` });
    const rows = tf.tidy(() => logits.squeeze([0]).logSoftmax());
    logits.dispose();
    runs.push((await rows.data()) as Float32Array);
    rows.dispose();
  }
  return runs;
}

/** Compares the demo checkpoint held in `dtype` with the same weights in float32 on `reference`, at `count` questions. */
export async function compareDtypes(
  dtype: Exclude<DtypeChoice, "auto">,
  reference: BackendName,
  count: number,
): Promise<Comparison> {
  const exact = await PaliGemma.load(undefined, { backend: reference, dtype: "float32" });
  const expected = await logProbabilities(exact, count);
  const V = exact.config.text.vocabSize;
  exact.dispose();
  const model = await PaliGemma.load(undefined, { backend: "tensorflow", dtype });
  const actual = await logProbabilities(model, count);
  const comparison = { positions: 0, meanKl: 0, largestKl: 0, agreement: 0, dtype: model.dtype };
  model.dispose();
  expected.forEach((run, i) => {
    for (let from = 0; from < run.length; from += V) {
      const [p, q] = [run.subarray(from, from + V), actual[i].subarray(from, from + V)];
      let kl = 0;
      p.forEach((value, id) => (kl += Math.exp(value) * (value - q[id])));
      comparison.largestKl = Math.max(comparison.largestKl, kl);
      comparison.meanKl += kl;
      comparison.positions++;
      if (best(p) === best(q)) comparison.agreement++;
    }
  });
  const { positions, meanKl } = comparison;
  return { ...comparison, meanKl: meanKl / positions, agreement: comparison.agreement / comparison.positions };
}

const best = (row: Float32Array): number => row.reduce((top, value, id) => (value > row[top] ? id : top), 0);
