import { existsSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";

/** The folder that holds package.json: above `src` in a checkout, above `dist/src` in an installed package. */
export function packageRoot(): string {
  const here = path.dirname(fileURLToPath(import.meta.url));
  const candidates = [path.join(here, ".."), path.join(here, "..", "..")];
  return candidates.find((folder) => existsSync(path.join(folder, "package.json"))) ?? candidates[0];
}
