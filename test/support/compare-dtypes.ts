import type { BackendName } from "../../src/backends/backend.js";
import type { Dtype, DtypeChoice } from "../../src/backends/dtypes.js";
import { compareLogits, type LogitComparison } from "../../src/inspection/compare-logits.js";
import { PaliGemma } from "../../src/paligemma.js";

/** How far a run is from the float32 run of the same model, and what it was held in. */
export type Comparison = LogitComparison & { dtype: Dtype };

/** Pictures that are nothing in particular, the same each time. */
const picture = (seed: number) => ({
  data: Uint8Array.from({ length: 64 * 48 * 3 }, (_, i) => (i * (37 + 2 * seed) + (i >> (seed % 7)) * 11) % 256),
  width: 64,
  height: 48,
});

/** The logits of every position of `count` questions to the demo checkpoint, one after another. */
async function logitsOf(model: PaliGemma, count: number): Promise<number[]> {
  const all: number[] = [];
  for (let seed = 0; seed < count; seed++) {
    const logits = await model.forward({ image: picture(seed), prompt: `answer en what is at the left ${seed}` });
    for (const value of await logits.data()) all.push(value);
    logits.dispose();
  }
  return all;
}

/**
 * Compares the demo checkpoint held in `dtype` with the same weights in float32 on `reference`, at `count` questions.
 */
export async function compareDtypes(
  dtype: Exclude<DtypeChoice, "auto">,
  reference: BackendName,
  count: number,
): Promise<Comparison> {
  const exact = await PaliGemma.load(undefined, { backend: reference, dtype: "float32" });
  const expected = await logitsOf(exact, count);
  exact.dispose();
  const model = await PaliGemma.load(undefined, { backend: "tensorflow", dtype });
  const actual = await logitsOf(model, count);
  const { dtype: held, config } = model;
  model.dispose();
  return { ...compareLogits(actual, expected, config.text.vocabSize), dtype: held };
}
