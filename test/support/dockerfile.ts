import { readFileSync } from "node:fs";
import path from "node:path";

import { packageRoot } from "../../src/base/package-root.js";

/** One instruction: `COPY --from=build a b` is { name: "COPY", flags: ["--from=build"], words: ["a", "b"] }. */
export type Instruction = { name: string; flags: string[]; words: string[] };

/** The stages of deploy/Dockerfile, each from its FROM on. */
export function readDockerfile(): Instruction[][] {
  const text = readFileSync(path.join(packageRoot(), "deploy", "Dockerfile"), "utf8");
  const lines = text
    .replace(/^\s*#.*\n/gm, "")
    .replace(/\\\n/g, " ")
    .split("\n");
  const stages: Instruction[][] = [];
  for (const [name, ...rest] of lines.filter((line) => line.trim() !== "").map((line) => line.trim().split(/\s+/))) {
    const words = rest.filter(
      (word, i) => !word.startsWith("--") || rest.slice(0, i).some((one) => !one.startsWith("--")),
    );
    const instruction = { name: name!, flags: rest.slice(0, rest.length - words.length), words };
    if (name === "FROM") stages.push([]);
    stages.at(-1)!.push(instruction);
  }
  return stages;
}

/** Whether .dockerignore, which leaves out everything and names exceptions, lets a path into the build. */
export function inContext(file: string): boolean {
  const text = readFileSync(path.join(packageRoot(), ".dockerignore"), "utf8");
  const within = (folder: string) => file === folder || file.startsWith(`${folder}/`);
  let taken = true;
  for (const rule of text.split("\n").filter((line) => line !== "" && !line.startsWith("#"))) {
    const [again, folder] = rule.startsWith("!") ? [true, rule.slice(1)] : [false, rule];
    if (folder === "*" || within(folder)) taken = again;
  }
  return taken;
}
