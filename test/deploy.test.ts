import assert from "node:assert/strict";
import { existsSync, readdirSync, readFileSync, rmSync } from "node:fs";
import path from "node:path";

import type { BatchResult } from "../src/jobs/batch-result.js";
import { demoCheckpoint } from "../src/base/demo-checkpoint.js";
import { packageRoot } from "../src/base/package-root.js";
import { packageVersion } from "../src/base/version.js";
import { heldoutFolder } from "./heldout/heldout.js";
import { readAnswers, sameAnswers, scratchFolder, writeLines } from "./support/batch-files.js";
import { inContext, readDockerfile } from "./support/dockerfile.js";
import { expanded, faultsOfJobs, readManifest } from "./support/manifest.js";
import { cli } from "./support/run-cli.js";

const root = packageRoot();
const readme = readFileSync(path.join(root, "deploy", "README.md"), "utf8");
const PARTS = 4;

describe("deploy/", () => {
  const scratch = scratchFolder();
  let whole: BatchResult[];

  /** Runs a command of the documents with its paths put where the tests have something. */
  async function run(args: readonly string[]): Promise<void> {
    const here = args.map((arg) =>
      arg
        .replace(/^(.*=)?(\/models|models)\/[\w-]+$/, `$1${demoCheckpoint()}`)
        .replace(/^(.*=)?(\/data\/)?data\.jsonl$/, `$1${scratch("data.jsonl")}`)
        .replace(/^(.*=)?(\/answers\/)?out\.jsonl$/, `$1${scratch("out.jsonl")}`),
    );
    const { code, stderr } = await cli(...here, "--backend", "wasm", "--max-new-tokens", "16");
    assert.equal(code, 0, stderr);
  }
  const parts = () =>
    Array.from({ length: PARTS }, (_, i) => scratch(`out.0000${i}-of-0000${PARTS}.jsonl`)).flatMap((file) => {
      const answers = readAnswers(file);
      assert.ok(answers.length > 0, `${file}: a part with nothing to do shows nothing`);
      return answers;
    });

  beforeEach(() => {
    for (const file of readdirSync(scratch())) if (file.startsWith("out.")) rmSync(scratch(file));
  });
  before(async () => {
    const prompts = ["caption en", "answer en what color is the ground?", "detect star"];
    const lines = Array.from({ length: 12 }, (_, i) => {
      const picture = path.join(heldoutFolder, `${String(1 + (i % 4)).padStart(4, "0")}.png`);
      return { id: `line ${i}`, image: i === 5 ? "absent.png" : picture, prompt: prompts[i % 3] };
    });
    writeLines(scratch("data.jsonl"), lines);
    await run(["batch", "--input", "data.jsonl", "--out", scratch("whole.jsonl")]);
    whole = readAnswers(scratch("whole.jsonl"));
    assert.equal(whole.length, 12);
  });

  describe("batch-job.yaml", () => {
    const job = readManifest();
    const spec = job.spec!;
    const pod = spec.template.spec!;
    const [container] = pod.containers;

    it("is a Job to Kubernetes' own types, which know its every field", () => {
      const misspelt = { ...job, spec: { ...spec, backoffLimitPerIndx: 3 } };
      const [none, unknown, wrong] = faultsOfJobs(job, misspelt, { ...job, spec: { ...spec, completions: "4" } });
      assert.deepEqual(none, []);
      assert.match(unknown!.join(), /backoffLimitPerIndx/);
      assert.match(wrong!.join(), /'string' is not assignable to type 'number'/);
    });

    it("keeps what the server asks of Indexed Jobs with a limit for each index and a failure policy", () => {
      assert.deepEqual([job.apiVersion, job.kind, spec.completionMode], ["batch/v1", "Job", "Indexed"]);
      assert.equal(pod.restartPolicy, "Never"); // both need it
      assert.equal(spec.podReplacementPolicy, "Failed"); // a failure policy allows no other
      assert.equal(spec.backoffLimit, undefined); // its default depends on the limit for each index
      assert.ok(spec.maxFailedIndexes! <= spec.completions!);
      assert.ok(spec.parallelism! <= spec.completions!);
      for (const { action, onPodConditions, onExitCodes } of spec.podFailurePolicy!.rules) {
        assert.ok(["Ignore", "FailIndex", "FailJob", "Count"].includes(action));
        assert.equal([onPodConditions, onExitCodes].filter(Boolean).length, 1);
      }
    });

    it("mounts volumes that it has, writes to one of them, and is nobody's root", () => {
      const volumes = pod.volumes!.map(({ name }) => name).sort();
      assert.deepEqual(container!.volumeMounts!.map(({ name }) => name).sort(), volumes);
      const writable = container!.volumeMounts!.filter(({ readOnly }) => !readOnly).map(({ mountPath }) => mountPath);
      assert.deepEqual(writable, ["/answers", "/tmp"]);
      const claims = [...readme.matchAll(/`(paligemma-(?:models|data|answers))`/g)].map(([, name]) => name).sort();
      assert.deepEqual(pod.volumes!.flatMap((one) => one.persistentVolumeClaim?.claimName ?? []).sort(), claims);
      assert.deepEqual(
        [pod.securityContext!.runAsNonRoot, container!.securityContext!.readOnlyRootFilesystem],
        [true, true],
      );
      const { requests, limits } = container!.resources!;
      assert.equal(requests!.cpu, limits!.cpu);
      assert.equal(container!.image, `paligemma-tfjs:${packageVersion()}`);
    });

    it("its arguments, run as the kubelet would for each index, give the lines of one run", async () => {
      assert.equal(spec.completions, PARTS);
      for (let index = 0; index < PARTS; index++) {
        await run(expanded(container!.args!, { JOB_COMPLETION_INDEX: String(index) }));
      }
      sameAnswers(parts(), whole);
    });
  });

  it("references in arguments are replaced as the kubelet replaces them", () => {
    const variables = { A: "1" };
    assert.deepEqual(expanded(["x=$(A)/4", "$$(A)", "$(B)", "$A", "$(A)$(A)"], variables), [
      "x=1/4",
      "$(A)",
      "$(B)",
      "$A",
      "11",
    ]);
  });

  for (const [name, line] of [...readme.matchAll(/^(?:sbatch|seq) .*?(paligemma batch [^'\n]*)/gm)].map((match) => [
    match[0].split(" ")[0]!,
    match[1]!,
  ])) {
    it(`the line of ${name} gives the lines of one run`, async () => {
      for (let index = 0; index < PARTS; index++) {
        const command = line
          .replace("$SLURM_ARRAY_TASK_ID", String(index))
          .replace("$SLURM_ARRAY_TASK_COUNT", String(PARTS))
          .replace("{}", String(index));
        assert.doesNotMatch(command, /[${}]/);
        await run(command.split(" ").slice(1));
      }
      sameAnswers(parts(), whole);
    });
  }

  it("README has a line for Slurm, one for GNU parallel, and links that lead somewhere", () => {
    assert.match(readme, /^sbatch --array=0-3 /m);
    assert.match(readme, /^seq 0 3 \| .*parallel /m);
    for (const [, link] of readme.matchAll(/\]\(([\w./-]+)\)/g))
      assert.ok(existsSync(path.join(root, "deploy", link!)), link);
  });

  describe("Dockerfile", () => {
    const [build, final] = readDockerfile();
    const copies = (stage: typeof build) => stage!.filter(({ name }) => name === "COPY");

    it("copies what there is, and what .dockerignore lets through", () => {
      const sources = copies(build).flatMap(({ words }) => words.slice(0, -1));
      assert.ok(sources.length > 5);
      for (const source of sources) {
        assert.ok(existsSync(path.join(root, source)), source);
        assert.ok(inContext(source), `${source} is ignored`);
      }
      for (const out of [".git", "node_modules", "test", "weights/demo-training", "dist"])
        assert.ok(!inContext(out), out);
    });

    it("puts into the image what the package ships, its dependencies and the native backend", () => {
      const targets = copies(final).map(({ words }) => words.at(-1)!);
      const { files, bin } = JSON.parse(readFileSync(path.join(root, "package.json"), "utf8")) as {
        files: string[];
        bin: { paligemma: string };
      };
      const documents = (file: string) => file === "docs" || file.endsWith(".md");
      for (const file of files.filter((one) => !documents(one))) assert.ok(targets.includes(file), file);
      assert.ok(targets.includes("node_modules") && targets.includes("/opt/paligemma-native"));
      assert.ok(copies(final).every(({ flags }) => flags.join() === "--from=build"));
      assert.ok(final!.some(({ name, words }) => name === "RUN" && words.includes(`/app/${bin.paligemma}`)));
    });

    it("runs the command as a user that is not root, by number, and by nothing but itself, so that signals reach it", () => {
      const value = (name: string) => final!.find((one) => one.name === name)!.words.join(" ");
      assert.match(value("USER"), /^[1-9]\d*:[1-9]\d*$/);
      assert.equal(value("ENTRYPOINT"), '["paligemma"]');
      assert.equal(value("VOLUME"), "/models");
    });
  });
});
