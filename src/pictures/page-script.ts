import { readFileSync } from "node:fs";

/** The files of the page's program: each uses only names of those before it. */
const FILES = [
  "text",
  "scale",
  "attention-rows",
  "report-model",
  "state",
  "canvas",
  "grid",
  "queries-view",
  "overview-view",
  "map-view",
  "masses-view",
  "readers-view",
  "charts",
  "lens-view",
  "exports",
  "main",
];

/**
 * The page's program as one script: the modules of `page/` one after another, without their imports and exports, which
 * name each other only. It runs where it is written, so that a report needs no file besides itself.
 */
export function pageScript(): string {
  return FILES.map((name) => withoutModules(readFileSync(new URL(`./page/${name}.js`, import.meta.url), "utf8"))).join(
    "\n",
  );
}

function withoutModules(source: string): string {
  return source
    .replace(/^import [^;]*;\n/gm, "")
    .replace(/^export (?=const|function|async)/gm, "")
    .replace(/^export \{\};?\n/gm, "")
    .replace(/^\/\/# sourceMappingURL=.*$/gm, "");
}
