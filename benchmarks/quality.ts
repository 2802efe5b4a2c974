import type { DtypeChoice } from "../src/backends/dtypes.js";
import { compareLogits, type LogitComparison } from "../src/inspection/compare-logits.js";
import { PaliGemma } from "../src/paligemma.js";

/** What is compared with float32, in this order. */
const HELD: readonly DtypeChoice[] = ["bfloat16", "int8", "nf4"];

/** Questions to the demo checkpoint, of about 75 positions each. */
const QUESTIONS = 8;

/**
 * What holding the demo checkpoint in fewer bits does to its distributions, at each position of some questions, as
 * Markdown.
 */
export async function measureQuality(log: (line: string) => void): Promise<string> {
  const reference = await demoLogits("float32");
  const lines = ["| held in | mean KL, nats | largest | same best token | positions |", "|---|---|---|---|---|"];
  for (const dtype of HELD) {
    const { positions, meanKl, largestKl, agreement } = compareAll(await demoLogits(dtype), reference);
    const cells = [dtype, meanKl.toExponential(1), largestKl.toExponential(1), `${(100 * agreement).toFixed(1)} %`];
    lines.push(`| ${[...cells, String(positions)].join(" | ")} |`);
    log(
      `demo checkpoint, ${dtype}: mean KL ${meanKl.toExponential(1)}, same best token ${(100 * agreement).toFixed(1)} %`,
    );
  }
  return `${lines.join("\n")}\n`;
}

type Logits = { values: Float32Array; vocabSize: number };

async function demoLogits(dtype: DtypeChoice): Promise<Logits> {
  const model = await PaliGemma.load(undefined, { backend: "tensorflow", dtype });
  const runs: Float32Array[] = [];
  for (let seed = 0; seed < QUESTIONS; seed++) {
    const logits = await model.forward({ image: noise(seed), prompt: `answer en what is at the left ${seed}` });
    runs.push((await logits.data<"float32">()).slice());
    logits.dispose();
  }
  const { vocabSize } = model.config.text;
  model.dispose();
  const values = new Float32Array(runs.reduce((sum, { length }) => sum + length, 0));
  runs.reduce((at, run) => (values.set(run, at), at + run.length), 0);
  return { values, vocabSize };
}

const compareAll = (ours: Logits, reference: Logits): LogitComparison =>
  compareLogits(ours.values, reference.values, reference.vocabSize);

/** A picture of nothing in particular, the same each time. */
const noise = (seed: number) => ({
  data: Uint8Array.from({ length: 64 * 48 * 3 }, (_, i) => (i * (37 + 2 * seed) + (i >> (seed % 7)) * 11) % 256),
  width: 64,
  height: 48,
});
