import type { LoadOptions } from "../loading/load-parts.js";
import { PaliGemma } from "../paligemma.js";
import { adapterLine } from "./adapter-line.js";
import { LoadDisplay } from "./load-display.js";
import type { LoadFlags } from "./options.js";

/**
 * Loads the model that the flags name, with a progress bar on stderr where that is a terminal; `more` is handed on to
 * `load`.
 */
export async function loadWithProgress(
  { model, revision, tokenizer, adapter, fetchPictures, dtype, backend }: LoadFlags,
  more: Pick<LoadOptions, "maskWeights" | "signal"> = {},
): Promise<PaliGemma> {
  const display = new LoadDisplay();
  try {
    const loaded = await PaliGemma.load(model, {
      ...more,
      revision,
      tokenizer,
      adapter,
      fetchPictures,
      dtype,
      backend,
      onProgress: (progress) => display.show(progress),
      onNotice: (text) => display.note(text),
    });
    for (const info of loaded.adapters) display.note(adapterLine(info));
    return loaded;
  } finally {
    display.end();
  }
}
