import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { readdir } from "node:fs/promises";
import path from "node:path";

import { checkpointInfo } from "../../../src/checkpoints/info/index.js";
import type { LoadOptions } from "../../../src/loading/load-parts.js";
import { PaliGemma } from "../../../src/paligemma.js";
import { WeightsError } from "../../../weights/errors.js";
import { fixtures } from "../../parity/reference.js";
import { DEMO_COMMIT, DemoHub } from "../../support/demo-hub.js";
import { cli } from "../../support/run-cli.js";
import { tinyFolder } from "../../support/tiny.js";

const ARCHIVE = path.join(fixtures, "npz", "tiny-pg2");
const PRESET = path.join(fixtures, "keras", "tiny-pg1-task");
const SHARDED = path.join(fixtures, "keras", "tiny-pg2-sharded");
/** The forms: a repository's name, the same on disk, and a tokenizer for what has none. */
const FORMS: [repository: string, place: string, tokenizer?: string][] = [
  ["toy/archive", path.join(ARCHIVE, "f32.npz"), tinyFolder("tiny-pg2")],
  ["toy/preset", PRESET],
  ["toy/shards", SHARDED, tinyFolder("tiny-pg2")],
];
const PICTURE = path.join(fixtures, "references", "tiny-pg1", "prompt");

/** The files of a folder that pass, by their paths in it. */
function filesIn(folder: string, passes: (name: string) => boolean = () => true): Record<string, Buffer> {
  const entries = readdirSync(folder, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
  const paths = entries.map((entry) => path.join(entry.parentPath, entry.name)).filter(passes);
  return Object.fromEntries(paths.map((file) => [path.relative(folder, file), readFileSync(file)]));
}

const load = (place: string, tokenizer?: string, options: LoadOptions = {}) =>
  PaliGemma.load(place, { backend: "cpu", tokenizer, ...options });

/** What a model says of a picture: the logits of the last position, and an answer. */
async function said(place: string, tokenizer?: string): Promise<{ logits: Float32Array; text: string }> {
  const model = await load(place, tokenizer);
  const image = path.join(
    PICTURE,
    (await readdir(PICTURE)).find((file) => file.endsWith(".png"))!,
  );
  const question = { image, prompt: "caption en" };
  const result = await model.forward(question, { rows: "last" });
  const logits = result.dataSync() as Float32Array;
  const { text } = await model.generate(question, { maxNewTokens: 6 });
  result.dispose();
  model.dispose();
  return { logits, text };
}

describe("archives and presets on the Hugging Face Hub", () => {
  let hub: DemoHub;
  beforeEach(async () => {
    const repository = (files: Record<string, Buffer>) => ({ commits: { [DEMO_COMMIT]: files } });
    const isOf =
      (...names: string[]) =>
      (file: string) =>
        names.includes(path.basename(file));
    hub = await DemoHub.start({
      "toy/archive": repository(filesIn(ARCHIVE, isOf("f32.npz", "config.json"))),
      "toy/preset": repository(filesIn(PRESET)),
      "toy/shards": repository(filesIn(SHARDED)),
      "toy/several": repository(filesIn(ARCHIVE, isOf("f32.npz", "f16.npz", "config.json"))),
    });
  });
  afterEach(() => hub.stop());
  const snapshot = (name: string) => path.join(hub.home, "hub", `models--toy--${name}`, "snapshots", DEMO_COMMIT);

  for (const [repository, place, tokenizer] of FORMS) {
    it(`load takes ${repository} by its name: the logits and the answer are those of the same on disk`, async () => {
      const ours = await said(repository, tokenizer);
      assert.deepEqual(ours, await said(place, tokenizer));
      assert.ok(ours.logits.length > 200 && ours.text !== "");
      hub.server.requests.length = 0;
      assert.deepEqual(await said(repository, tokenizer), ours);
      assert.deepEqual(hub.server.fileRequests, []);
    });
  }

  it("download prints the folder of each, and that folder can be loaded", async () => {
    for (const [repository, , tokenizer] of FORMS) {
      const { code, stdout, stderr } = await cli("download", repository);
      assert.deepEqual([code, stdout, stderr], [0, `${snapshot(path.basename(repository))}\n`, ""]);
      (await load(stdout.trim(), tokenizer)).dispose();
    }
  });

  it("info tells of an archive what it tells of the one on disk, by ranges, a request an array at most", async () => {
    assert.deepEqual(await checkpointInfo("toy/archive"), await checkpointInfo(FORMS[0][1]));
    const sizes = hub.server.fileRequests.map(({ sent }) => sent);
    const whole = readFileSync(FORMS[0][1]).length;
    assert.ok(sizes.length < 20 && sizes.every((size) => size < whole / 2), `${sizes} of ${whole}`);
    assert.deepEqual(await readdir(hub.home), [], "nothing is stored");
    const { code, stdout } = await cli("info", "--model", "toy/archive");
    assert.equal(code, 0);
    assert.match(stdout, /^names +of big_vision, in f32\.npz$/m);
  });

  it("info says of a preset that it must be downloaded, and how; then it tells what it tells of the one on disk", async () => {
    for (const [repository, place] of FORMS.slice(1)) {
      const name = path.basename(repository);
      const refused = await cli("info", "--model", repository, "--revision", "main");
      assert.equal(refused.code, 1);
      const advice = new RegExp(
        `^error: toy/${name}@\\w{40}: Keras weights \\(model\\.weights\\.\\w+\\) are read from a folder on disk, not by ranges; ` +
          `run "paligemma download toy/${name} --revision main" first, then ask again\n$`,
      );
      assert.match(refused.stderr, advice);
      assert.deepEqual(
        hub.server.fileRequests.map(({ path }) => path).filter((path) => path.endsWith(".h5")),
        [],
      );
      assert.equal((await cli("download", repository)).code, 0);
      hub.server.requests.length = 0;
      assert.deepEqual(await checkpointInfo(repository), await checkpointInfo(place));
      assert.deepEqual(hub.server.fileRequests, []);
    }
  });

  it("hooks need no more than a preset's config", async () => {
    assert.deepEqual(await cli("hooks", "--model", "toy/preset"), await cli("hooks", "--model", PRESET));
    assert.deepEqual(
      hub.server.fileRequests.map(({ path }) => path.split("/").at(-1)),
      ["config.json"],
    );
  });

  it("where there are several archives, the address that the error gives is that of a model", async () => {
    const error = await load("toy/several").catch((error: unknown) => error);
    assert.ok(error instanceof WeightsError, String(error));
    const [, address] = /as in (http:\S+), or download it/.exec(error.message)!;
    const tokenizer = tinyFolder("tiny-pg2");
    assert.deepEqual(await said(address, tokenizer), await said(path.join(ARCHIVE, "f16.npz"), tokenizer));
  });
});
