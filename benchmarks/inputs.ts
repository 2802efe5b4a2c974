import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";

import * as tf from "@tensorflow/tfjs";

import type { ModelInputs } from "../src/model/inputs.js";
import { IMAGE_TOKEN, imageTokens } from "./variants.js";

/** What ids.json holds. */
type Row = { imageSize: number; inputIds: number[] };

/** <bos>, two words and a newline, as in "caption en\n". */
const PROMPT = [2, 40416, 659, 108];

/** Writes one question that needs no tokenizer and no picture decoder, so that every side gets the same numbers. */
export async function writeInputs(folder: string, imageSize: number): Promise<void> {
  const inputIds = [...Array<number>(imageTokens(imageSize)).fill(IMAGE_TOKEN), ...PROMPT];
  const pixels = Float32Array.from(
    { length: imageSize ** 2 * 3 },
    (_, i) => ((i * 37 + (i >> 8) * 11) % 256) / 127.5 - 1,
  );
  await mkdir(folder, { recursive: true });
  await writeFile(join(folder, "ids.json"), JSON.stringify({ imageSize, inputIds } satisfies Row));
  await writeFile(join(folder, "pixels.f32"), pixels);
}

/** Reads what `writeInputs` wrote. The caller disposes the pixels. */
export async function readInputs(folder: string): Promise<ModelInputs> {
  const { imageSize, inputIds } = JSON.parse(await readFile(join(folder, "ids.json"), "utf8")) as Row;
  const bytes = await readFile(join(folder, "pixels.f32"));
  const pixels = new Float32Array(new Uint8Array(bytes).buffer);
  return { inputIds: [inputIds], pixelValues: tf.tensor(pixels, [1, imageSize, imageSize, 3]) };
}
