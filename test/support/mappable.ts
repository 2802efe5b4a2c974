import { closeSync } from "node:fs";

import { versionOf } from "../../weights/file-version.js";
import { openPlainSync } from "../../weights/plain-file.js";
import type { OpenFile } from "../../weights/byte-source.js";

/** A file as what maps it takes it; the caller closes it, and what is mapped by then stays. */
export function mappable(path: string): OpenFile & { close(): void } {
  const { descriptor, info } = openPlainSync(path);
  return { path, descriptor, version: versionOf(info), close: () => closeSync(descriptor) };
}
