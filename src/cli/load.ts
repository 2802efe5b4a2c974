import { SingleBar } from "cli-progress";

import { PaliGemma } from "../paligemma.js";
import type { LoadFlags } from "./options.js";

/** Loads the model that the flags name, with a progress bar on stderr where that is a terminal. */
export async function loadWithProgress({ model, dtype, backend }: LoadFlags): Promise<PaliGemma> {
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
