import assert from "node:assert/strict";
import * as tf from "@tensorflow/tfjs";
import { openFolder } from "../../weights/index.js";
import { openWeights } from "../../weights/open-weights.js";

/** Rows of the token table of the tiny models in the forms that hold no row for `<image>`. */
const VOCABULARY = 299;

/**
 * Every tensor of two checkpoints, compared bit for bit; of the second, a safetensors file, only the rows of the table
 * that the first one has.
 */
export async function expectSameWeights(theirPlace: string, ourPlace: string): Promise<void> {
  const theirs = await openWeights(await openFolder(theirPlace));
  const ours = await openWeights(await openFolder(ourPlace));
  assert.deepEqual([...theirs.entries.keys()].sort(), [...ours.entries.keys()].sort());
  let heard = 0;
  await theirs.stage("", (bytes) => (heard += bytes));
  await ours.stage("");
  for (const [name, { shape, dtype }] of ours.entries) {
    const entry = theirs.entries.get(name)!;
    assert.equal(entry.dtype, dtype, name);
    const same = name.endsWith("embed_tokens.weight") ? [VOCABULARY, ...shape.slice(1)] : shape;
    assert.deepEqual(entry.shape, same, name);
    const [a, b] = [theirs.get(name, entry.shape), ours.get(name, shape)];
    assert.deepEqual(a.dataSync(), b.dataSync().slice(0, a.size), name);
    tf.dispose([a, b]);
  }
  assert.equal(heard, theirs.totalBytes, "bytes that were reported");
  await theirs.close();
  await ours.close();
}
