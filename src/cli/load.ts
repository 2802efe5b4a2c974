import { SingleBar } from "cli-progress";

import { type LoadOptions, PaliGemma } from "../paligemma.js";
import type { LoadFlags } from "./options.js";

/** Loads the model that the flags name, with a progress bar on stderr where that is a terminal; `more` is handed on to `load`. */
export async function loadWithProgress(
  { model, dtype, backend }: LoadFlags,
  more: Pick<LoadOptions, "maskWeights" | "signal"> = {},
): Promise<PaliGemma> {
  const bar = new SingleBar({
    format: "loading {bar} {percentage}% {value}/{total} MB",
    stream: process.stderr,
    clearOnComplete: true,
    hideCursor: true,
  });
  const megabytes = (bytes: number) => Math.round(bytes / 1e6);
  let started = false;
  try {
    return await PaliGemma.load(model, {
      ...more,
      dtype,
      backend,
      onProgress: ({ loadedBytes, totalBytes }) => {
        if (!started) bar.start(megabytes(totalBytes), 0);
        started = true;
        bar.update(megabytes(loadedBytes));
      },
    });
  } finally {
    if (started) bar.stop();
  }
}
