import { decode } from "./decode.js";
import type { DecodingOptions, FinishReason } from "./options.js";
import type { ModelInputs } from "../model/inputs.js";
import type { PaliGemmaModel } from "../model/model.js";
import { checkOptions } from "../base/options.js";
import { ActivationCache } from "../hooks/activation-cache.js";
import { CAPTURE_KINDS, capturePoints, captureTap, type CaptureRequest } from "../hooks/run.js";

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

/**
 * Decodes one answer and yields each token with the activations of its pass. Throws as `decode` and `runWithCache` do.
 */
export async function* decodeAndKeep(
  model: PaliGemmaModel,
  inputs: ModelInputs,
  options: DecodingOptions,
  request: CaptureRequest,
): AsyncGenerator<CapturedPiece, void, void> {
  const images = inputs.pixelValues?.shape[0] ?? 0;
  const { device, dtype } = checkOptions("capture", request, CAPTURE_KINDS);
  const points = capturePoints(model, request, { inputs, passes: Infinity });
  let cache: ActivationCache | null = null;
  let step = 0;
  try {
    const passes = decode(model, inputs, { ...options, logProbabilities: true }, (pass) => {
      cache = new ActivationCache({ device, dtype });
      return captureTap(cache, points, request, { pass, images });
    });
    for await (const { tokens, finished, logProbabilities } of passes) {
      const [token, logProbability] = [tokens[0]!, logProbabilities![0]!];
      const piece = { step: step++, token, logProbability, finishReason: finished[0]!, cache: cache! };
      cache = null;
      yield piece;
    }
  } finally {
    (cache as ActivationCache | null)?.dispose();
  }
}
