import * as tf from "@tensorflow/tfjs";

import type { BackendName } from "../src/backends/backend.js";
import type { ModelInputs } from "../src/model/inputs.js";
import { PaliGemma } from "../src/paligemma.js";

/** What is measured: the demo checkpoint on one backend, with a picture and a prompt ready for the network. */
export type Subject = { model: PaliGemma; inputs: ModelInputs; dispose: () => void };

/** Loads the demo checkpoint and prepares one question; the picture is made here and is always the same. */
export async function demoSubject(backend: BackendName): Promise<Subject> {
  const model = await PaliGemma.load(undefined, { backend });
  const data = Uint8Array.from({ length: 90 * 70 * 3 }, (_, i) => (i * 37) % 256);
  const question = { image: { data, width: 90, height: 70 }, prompt: "describe en" };
  const { pixelValues, pixelShape, ...rows } = await model.process(question);
  const pixels = tf.tensor(pixelValues, pixelShape);
  const dispose = () => {
    pixels.dispose();
    model.dispose();
  };
  return { model, inputs: { ...rows, pixelValues: pixels }, dispose };
}
