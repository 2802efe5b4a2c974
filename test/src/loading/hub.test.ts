import assert from "node:assert/strict";
import { existsSync, readdirSync } from "node:fs";
import { readdir, readFile } from "node:fs/promises";
import { type AddressInfo, createServer } from "node:net";
import path from "node:path";

import { demoCheckpoint } from "../../../src/base/demo-checkpoint.js";
import { InputError } from "../../../src/base/errors.js";
import { checkpointInfo } from "../../../src/checkpoints/info/index.js";
import type { LoadOptions } from "../../../src/loading/load-parts.js";
import { type ModelProgress, openPlace } from "../../../src/loading/resolve-model.js";
import { PaliGemma } from "../../../src/paligemma.js";
import { packageRoot } from "../../../src/base/package-root.js";
import { WeightsError } from "../../../weights/errors.js";
import { demoAdapter } from "../../support/demo-adapter.js";
import { BFLOAT16_COMMIT, DEMO_COMMIT, DemoHub } from "../../support/demo-hub.js";
import { cli } from "../../support/run-cli.js";

const PICTURE = path.join(packageRoot(), "test", "heldout", "0002.png");
const TOKEN = "hf_demoTOKEN";
const NEEDED = readdirSync(demoCheckpoint()).length; // every file of the demo checkpoint

const refused = (type: new (message: string) => Error, message: RegExp) => (error: unknown) => {
  assert.ok(error instanceof type, String(error));
  assert.match(error.message, message);
  return true;
};

/** A port of this machine at which nothing listens. */
async function closedPort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
  const { port } = server.address() as AddressInfo;
  await new Promise((done) => server.close(done));
  return port;
}

describe("models on the Hugging Face Hub", () => {
  let hub: DemoHub;
  beforeEach(async () => {
    hub = await DemoHub.start({
      "toy/demo": {},
      "toy/gated": { token: TOKEN },
      "toy/hidden": { token: TOKEN, hidden: true },
    });
  });
  afterEach(() => hub.stop());
  const snapshots = (name: string) => path.join(hub.home, "hub", `models--toy--${name}`, "snapshots");
  const snapshot = (name: string, commit = DEMO_COMMIT) => path.join(snapshots(name), commit);
  const load = (name: string, options: LoadOptions = {}) => PaliGemma.load(name, { backend: "cpu", ...options });

  it("load takes owner/name: it downloads, loads and answers, and the second time asks for no file", async () => {
    const seen: ModelProgress[] = [];
    const model = await load("toy/demo", { revision: "bfloat16", onProgress: (progress) => seen.push(progress) });
    assert.equal(model.name, snapshot("demo", BFLOAT16_COMMIT));
    model.dispose();
    const phases = seen.map(({ phase }) => phase);
    assert.deepEqual([...new Set(phases)], ["download", "load"]);
    assert.equal(phases.lastIndexOf("download") + 1, phases.indexOf("load"));
    for (const phase of ["download", "load"]) {
      const { loadedBytes, totalBytes } = seen.filter((one) => one.phase === phase).at(-1)!;
      assert.equal(loadedBytes, totalBytes);
    }
    assert.equal(hub.server.fileRequests.length, NEEDED);
    hub.server.requests.length = 0;
    const again = await load("toy/demo");
    const question = { image: PICTURE, prompt: "caption en" };
    const { text } = await again.generate(question, { maxNewTokens: 4 });
    again.dispose();
    const plain = await load(demoCheckpoint());
    assert.equal((await plain.generate(question, { maxNewTokens: 4 })).text, text);
    plain.dispose();
    assert.deepEqual(hub.server.fileRequests, []);
  });

  it("adapters are taken by name too: two files come, into the cache, and another revision is another adapter", async () => {
    const [first, second] = [await demoAdapter(1), await demoAdapter(2)];
    await hub.stop();
    hub = await DemoHub.start({
      "toy/demo": {},
      "toy/adapter": { commits: { [DEMO_COMMIT]: first, [BFLOAT16_COMMIT]: second } },
    });
    const model = await load("toy/demo", { adapter: "toy/adapter" });
    const names = () => model.adapters.map(({ name, source, weight }) => [name, source, weight]);
    assert.deepEqual(names(), [["adapter", snapshot("adapter"), 1]]);
    hub.server.requests.length = 0;
    await model.loadAdapter("other", "toy/adapter", { revision: "bfloat16" });
    assert.equal(hub.server.fileRequests.length, 1); // the config is the same file
    const logits = async (name: string) => {
      model.setAdapters([name]);
      const result = await model.forward({ image: PICTURE, prompt: "ocr" }, { rows: "last" });
      const values = result.dataSync();
      result.dispose();
      return values;
    };
    assert.notDeepEqual(await logits("adapter"), await logits("other"));
    model.dispose();
    await assert.rejects(
      load("toy/adapter"),
      refused(InputError, /this is an adapter, and it does not say of which model/),
    );
  });

  it("HF_HUB_OFFLINE forbids to ask, and lets a copy be loaded", async () => {
    process.env.HF_HUB_OFFLINE = "1";
    await assert.rejects(
      load("toy/demo"),
      refused(
        WeightsError,
        /^toy\/demo: there is no such folder, and on the Hub: toy\/demo@main: HF_HUB_OFFLINE forbids/,
      ),
    );
    assert.deepEqual(hub.server.requests, []);
    delete process.env.HF_HUB_OFFLINE;
    (await load("toy/demo")).dispose();
    process.env.HF_HUB_OFFLINE = "1";
    hub.server.requests.length = 0;
    (await load("toy/demo")).dispose();
    assert.deepEqual(hub.server.requests, []);
  });

  it("a folder that lies here is meant before a repository, and has no revision and no token", async () => {
    assert.equal(path.relative(packageRoot(), process.cwd()), "");
    await assert.rejects(load("test/heldout"), /test\/heldout: there is no config\.json/);
    for (const name of ["weights/demo", undefined, "http://127.0.0.1:9/a/b"]) {
      for (const options of [{ revision: "main" }, { token: "hf_x" }, { token: false as const }]) {
        const loading = PaliGemma.load(name, options);
        await assert.rejects(
          loading,
          refused(InputError, /^(revision|token): only a model on the Hub \(owner\/name\) has one/),
        );
      }
    }
    assert.deepEqual(hub.server.requests, []);
  });

  it("a path that was mistyped is told as what it may have meant", async () => {
    await assert.rejects(
      load("wieghts/demo"),
      refused(
        WeightsError,
        /^wieghts\/demo: there is no such folder, and on the Hub: wieghts\/demo@main: http.* has no such repository/,
      ),
    );
    const { HF_ENDPOINT } = process.env;
    process.env.HF_ENDPOINT = `http://127.0.0.1:${await closedPort()}`;
    try {
      await assert.rejects(
        load("wieghts/demo"),
        refused(
          WeightsError,
          /^wieghts\/demo: there is no such folder, and on the Hub: .* 127\.0\.0\.1:\d+ cannot be reached \(.*\)$/,
        ),
      );
    } finally {
      process.env.HF_ENDPOINT = HF_ENDPOINT;
    }
    process.env.HF_HUB_OFFLINE = "1";
    await assert.rejects(
      load("wieghts/demo"),
      /^WeightsError: wieghts\/demo: there is no such folder, and .*HF_HUB_OFFLINE/,
    );
    delete process.env.HF_HUB_OFFLINE;
    await assert.rejects(load("no/such/folder"), refused(WeightsError, /there is no such folder$/));
  });

  it("a token lets gated and hidden models be loaded, and an aborted signal stops it", async () => {
    await assert.rejects(
      load("toy/gated"),
      refused(WeightsError, /the model is gated; visit http.*\/toy\/gated, signed in/),
    );
    (await load("toy/gated", { token: TOKEN })).dispose();
    process.env.HF_TOKEN = TOKEN;
    const stop = new AbortController();
    const stopped = load("toy/hidden", { signal: stop.signal, onProgress: () => stop.abort(new Error("enough")) });
    await assert.rejects(stopped, /^Error: enough$/);
    assert.ok(!existsSync(path.join(snapshot("hidden"), "model.safetensors")), "the download ended with it");
    (await load("toy/hidden")).dispose();
  });

  it("info and hooks read config and headers of it, and download nothing", async () => {
    assert.deepEqual(await checkpointInfo("toy/demo"), await checkpointInfo(demoCheckpoint()));
    const bytes = hub.server.fileRequests.reduce((sum, { sent }) => sum + sent, 0);
    assert.ok(bytes < 100_000, String(bytes));
    assert.deepEqual(await readdir(hub.home), []);
    assert.equal((await openPlace("toy/demo", { revision: "bfloat16" })).name, `toy/demo@${BFLOAT16_COMMIT}`);
    const [ours, theirs] = [await cli("hooks", "--model", "toy/demo"), await cli("hooks")];
    assert.deepEqual(ours, theirs);
    for (const command of ["info", "hooks"]) {
      const gone = await cli(command, "--model", "toy/demo", "--revision", "float16");
      assert.equal(gone.code, 1);
      assert.match(gone.stderr, /^error: toy\/demo@float16: there is no such branch, tag or commit/);
    }
  });

  describe("the command line", () => {
    it("download prints the folder, and generate takes it and the name", async () => {
      const { code, stdout, stderr } = await cli("download", "toy/demo", "--revision", "bfloat16");
      assert.deepEqual([code, stdout, stderr], [0, `${snapshot("demo", BFLOAT16_COMMIT)}\n`, ""]);
      const prompt = ["generate", PICTURE, "--prompt", "caption en", "--max-new-tokens", "3", "--backend", "cpu"];
      const runs = [];
      for (const model of [[stdout.trim()], ["toy/demo", "--revision", "bfloat16"]]) {
        runs.push(await cli(...prompt, "--model", ...model));
      }
      assert.equal(runs[0].code, 0, runs[0].stderr);
      assert.deepEqual(runs[0].stdout, runs[1].stdout);
      assert.deepEqual(await readdir(snapshots("demo")), [BFLOAT16_COMMIT]);
      assert.equal(hub.server.fileRequests.length, NEEDED);
    });

    it("download --dir fills a folder", async () => {
      const dir = path.join(hub.home, "plain");
      assert.deepEqual(await cli("download", "toy/demo", "--dir", dir), { code: 0, stdout: `${dir}\n`, stderr: "" });
      for (const file of await readdir(demoCheckpoint())) {
        assert.deepEqual(await readFile(path.join(dir, file)), await readFile(path.join(demoCheckpoint(), file)));
      }
      (await load(dir)).dispose();
    });

    it("a refusal is one sentence with the page to visit, and no token is ever shown", async () => {
      const without = await cli("download", "toy/gated");
      assert.equal(without.code, 1);
      assert.match(
        without.stderr,
        /^error: toy\/gated@\w+\/\S+: the model is gated; visit .*\/toy\/gated, signed in, and .*\n$/,
      );
      const wrong = await cli("download", "toy/gated", "--token", "hf_wrong", "--debug");
      assert.equal(wrong.code, 1);
      assert.match(wrong.stderr, /does not accept the access token given with the call/);
      assert.ok(!wrong.stderr.includes("hf_wrong") && !wrong.stdout.includes("hf_wrong"));
      assert.equal((await cli("download", "toy/gated", "--token", TOKEN)).code, 0);
    });

    it("what somebody who waits should know comes on stderr", async () => {
      await cli("download", "toy/demo");
      process.env.HF_ENDPOINT = "http://127.0.0.1:9";
      const { code, stdout, stderr } = await cli("download", "toy/demo");
      assert.deepEqual([code, stdout], [0, `${snapshot("demo")}\n`]);
      assert.match(stderr, /^toy\/demo@main: 127\.0\.0\.1:9 cannot be reached .*; using the copy in the cache, .*\n$/);
    });
  });
});
