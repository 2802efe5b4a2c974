import * as tf from "@tensorflow/tfjs";

import { inTurn, type Tap } from "../../layers/tap.js";
import { decode, type FinishReason, type GenerationOptions } from "../generate.js";
import type { ModelInputs } from "../inputs.js";
import type { PaliGemmaModel } from "../model.js";
import { ActivationCache } from "./activation-cache.js";
import { capturePoints, captureTap, type CaptureRequest } from "./run.js";

/** One token of a single answer, with what its pass has shown. */
export type CapturedPiece = {
  /** 0 for the pass over the prompt, then one for each token that was generated before. */
  step: number;
  token: number;
  /** log of the probability that the model gave the token, before temperature and cuts. */
  logProbability: number;
  finishReason: FinishReason | null;
  /** The consumer's to dispose. Empty where this pass has none of the positions. */
  cache: ActivationCache;
};

/** Decodes one answer and yields each token with the activations of its pass. Throws as `decode` and `runWithCache` do. */
export async function* decodeAndKeep(
  model: PaliGemmaModel,
  inputs: ModelInputs,
  options: GenerationOptions,
  request: CaptureRequest,
): AsyncGenerator<CapturedPiece, void, void> {
  const images = inputs.pixelValues?.shape[0] ?? 0;
  let cache: ActivationCache | null = null;
  let logits: tf.Tensor | null = null;
  let step = 0;
  const points = capturePoints(model, request);
  const free = () => tf.dispose([logits].filter((tensor) => tensor !== null));
  const seeLogits: Tap = Object.assign(
    (_name: string, value: tf.Tensor) => {
      logits = tf.keep(value.clone());
      return value;
    },
    { wants: (name: string) => name === "language.unembed.hook_out" },
  );
  try {
    const passes = decode(model, inputs, options, (pass) => {
      cache = new ActivationCache(request);
      return inTurn(captureTap(cache, points, request, { pass, images }), seeLogits);
    });
    for await (const { tokens, finished } of passes) {
      const [token] = tokens;
      const logProbability = await logProbabilityOf(logits!, token);
      free();
      logits = null;
      const piece = { step: step++, token, logProbability, finishReason: finished[0], cache: cache! };
      cache = null;
      yield piece;
    }
  } finally {
    free();
    (cache as ActivationCache | null)?.dispose();
  }
}

// log softmax of the last row at one token, without a second table of V numbers on the host.
async function logProbabilityOf(logits: tf.Tensor, token: number): Promise<number> {
  const value = tf.tidy(() => {
    const row = logits.slice([0, logits.shape[1]! - 1, 0], [1, 1, -1]).flatten();
    return row.slice([token], [1]).sub(row.logSumExp());
  });
  try {
    return (await value.data())[0]!;
  } finally {
    value.dispose();
  }
}
