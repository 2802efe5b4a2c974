import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { cpSync, existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";

import { packageRoot } from "../src/base/package-root.js";
import { heldoutFolder } from "./heldout/heldout.js";
import { readAnswers, writeLines } from "./support/batch-files.js";
import { inContext, type Instruction, readDockerfile } from "./support/dockerfile.js";
import { expanded, readManifest } from "./support/manifest.js";

/** What needs root, or the whole of TensorFlow: .ci/run has its own step for the native build. */
const NOT_RUN = [
  "apt-get",
  "rm -rf /var/lib/apt/lists/*",
  "node dist/src/cli.js setup-native",
  "rm -rf /opt/paligemma-native/wheels",
  "ln -s",
];

describe("the Dockerfile's steps, in folders that hold nothing but what it copies", () => {
  let scratch: string;
  const folders = () => ({ build: path.join(scratch, "build"), final: path.join(scratch, "final") });
  before(() => {
    scratch = mkdtempSync(path.join(tmpdir(), "paligemma-deploy-"));
  });
  after(() => rmSync(scratch, { recursive: true, force: true }));

  /** Takes the steps of a stage in `folder`, which stands for /app; what it copies lies in `from`. */
  function take(stage: readonly Instruction[], folder: string, from: string): string[] {
    const ran: string[] = [];
    const skip = (source: string) => path.isAbsolute(source) && !source.startsWith("/app");
    for (const { name, words } of stage) {
      if (name === "COPY") {
        const target = path.join(folder, words.at(-1)!);
        for (const source of words.slice(0, -1).filter((one) => !skip(one))) {
          const relative = path.relative("/app", path.resolve("/app", source));
          const to = words.at(-1)!.endsWith("/") ? path.join(target, relative) : target;
          const context = (file: string) => from !== packageRoot() || inContext(path.relative(from, file));
          cpSync(path.join(from, relative), to, { recursive: true, filter: context });
        }
      }
      if (name !== "RUN") continue;
      for (const command of words.join(" ").split(" && ")) {
        if (NOT_RUN.some((start) => command.startsWith(start))) continue;
        execFileSync("bash", ["-c", command], { cwd: folder, stdio: ["ignore", "pipe", "pipe"] });
        ran.push(command);
      }
    }
    return ran;
  }

  it("build the package, and what they leave answers a part of a batch as the manifest asks for it", () => {
    const [build, final] = readDockerfile();
    const { build: from, final: image } = folders();
    assert.deepEqual(take(build!, from, packageRoot()), ["npm ci", "npm run -s build", "npm ci --omit=dev"]);
    assert.ok(!existsSync(path.join(from, "weights", "demo-training")));
    assert.deepEqual(take(final!, image, from), ["chmod +x dist/src/cli.js"]);
    assert.ok(!existsSync(path.join(image, "node_modules", "typescript")));

    writeLines(path.join(scratch, "data.jsonl"), [
      { id: "a", image: path.join(heldoutFolder, "0004.png"), prompt: "answer en what color is the heart?" },
    ]);
    const args = readManifest().spec!.template.spec!.containers[0]!.args!;
    const answers = ["0", "1", "2", "3"].flatMap((index) => {
      const here = expanded(args, { JOB_COMPLETION_INDEX: index })
        .filter((arg) => !arg.startsWith("--model="))
        .map((arg) => arg.replace(/=\/(data|answers)\//, `=${scratch}/`));
      execFileSync(path.join(image, "dist", "src", "cli.js"), [...here, "--backend", "wasm"], {
        cwd: scratch,
        stdio: "pipe",
      });
      return readAnswers<{ id: string; text: string }>(path.join(scratch, `out.0000${index}-of-00004.jsonl`));
    });
    assert.deepEqual(
      answers.map(({ id, text }) => [id, text]),
      [["a", "yellow"]],
    );
  });
});
