import assert from "node:assert/strict";
import { execFile, spawnSync } from "node:child_process";
import { join } from "node:path";
import { promisify } from "node:util";
import { describeWhere } from "../../support/describe-where.js";
import { COMMIT, environment, FILES, filesOf, NEEDED, only, REPOSITORY, type Scene, withScene } from "./helpers.js";

const python = process.env.PALIGEMMA_PYTHON ?? "python3";

/** Runs a script with huggingface_hub at hand; what its `result` is in the end, as JSON. */
async function run(env: Record<string, string>, script: string): Promise<unknown> {
  const source = `import json\nfrom huggingface_hub import *\n${script}\nprint(json.dumps(result))`;
  const quiet = { HF_HUB_DISABLE_XET: "1", HF_HUB_DISABLE_PROGRESS_BARS: "1", HF_HUB_DISABLE_TELEMETRY: "1" };
  const { stdout } = await promisify(execFile)(python, ["-c", source], { env: environment({ ...quiet, ...env }) });
  return JSON.parse(stdout);
}

const repository = JSON.stringify(REPOSITORY);
const needed = JSON.stringify(NEEDED);
const whole = only(FILES, NEEDED);

const found = spawnSync(python, ["-c", "import huggingface_hub"], { env: environment({}) }).status === 0;
const absent = found ? null : "Python with huggingface_hub, named by PALIGEMMA_PYTHON";

describeWhere({ absent, what: "PYTHON" }, "weights/hub and Python's huggingface_hub", () => {
  const scene = (body: (scene: Scene) => Promise<void>) => () =>
    withScene(body, FILES, { refs: { main: COMMIT, bfloat16: COMMIT } });

  it(
    "what we have stored, Python finds without asking, and takes for a sound cache",
    scene(async ({ download, env, server, cache }) => {
      const folder = await download({ revision: "bfloat16" });
      server.requests.length = 0;
      const found = await run(
        env,
        `folder = snapshot_download(${repository}, revision="bfloat16", local_files_only=True)
file = hf_hub_download(${repository}, "model-1.safetensors", revision="bfloat16", local_files_only=True)
scan = scan_cache_dir()
repo = next(iter(scan.repos))
result = dict(folder=folder, file=file, config=try_to_load_from_cache(${repository}, "config.json", revision="bfloat16"),
  warnings=[str(w) for w in scan.warnings], repos=len(scan.repos), files=repo.nb_files, bytes=repo.size_on_disk,
  refs=sorted(repo.refs), incomplete=scan.incomplete_size_on_disk)`,
      );
      assert.deepEqual(found, {
        folder,
        file: join(folder, "model-1.safetensors"),
        config: join(folder, "config.json"),
        warnings: [],
        repos: 1,
        files: NEEDED.length,
        bytes: NEEDED.reduce((sum, path) => sum + FILES[path].length, 0),
        refs: ["bfloat16"],
        incomplete: 0,
      });
      assert.ok(!server.requests.some(({ path }) => path.includes(REPOSITORY)));
      assert.ok(folder.startsWith(cache));
    }),
  ).timeout(60_000);

  it(
    "and asks for no file again when it may ask",
    scene(async ({ download, env, server }) => {
      const folder = await download();
      const script = `result = snapshot_download(${repository}, allow_patterns=${needed})`;
      server.requests.length = 0;
      assert.equal(await run(env, script), folder);
      assert.deepEqual(server.fileRequests, []);
      assert.ok(server.requests.length > 0);
    }),
  ).timeout(60_000);

  for (const [what, script] of [
    ["snapshot_download", `result = snapshot_download(${repository})`],
    [
      "hf_hub_download",
      `result = [hf_hub_download(${repository}, file) for file in ${needed}][0][: -len("/config.json")]`,
    ],
  ]) {
    it(
      `what Python has stored by ${what}, we use, asking for no file`,
      scene(async ({ download, env, server, home }) => {
        const folder = await run(env, script);
        server.requests.length = 0;
        assert.equal(await download(), folder);
        assert.deepEqual(server.fileRequests, []);
        env.HF_HUB_OFFLINE = "1";
        assert.equal(await download(), folder);
        assert.deepEqual(only(await filesOf(folder as string), NEEDED), whole);
        assert.ok((folder as string).startsWith(home));
      }),
    ).timeout(60_000);
  }

  it(
    "what Python has left half done, we complete, and the other way round",
    scene(async ({ download, env, server }) => {
      await run(env, `result = snapshot_download(${repository}, allow_patterns=["*.json", "model-1*"])`);
      server.requests.length = 0;
      const folder = await download();
      assert.deepEqual(await filesOf(folder), whole);
      const fetched = server.fileRequests.map(({ path, host }) =>
        host === "store" ? "model-2.safetensors" : path.split("/").at(-1),
      );
      assert.deepEqual(fetched.sort(), ["model-2.safetensors", "tokenizer.model"]);
      server.requests.length = 0;
      assert.equal(await run(env, `result = snapshot_download(${repository})`), folder);
      assert.equal(
        server.fileRequests.filter(({ method }) => method === "GET").length,
        Object.keys(FILES).length - NEEDED.length,
      );
    }),
  ).timeout(60_000);

  it(
    "plain folders: each goes on with what the other has put there",
    scene(async ({ download, env, server, home }) => {
      const gets = () => server.fileRequests.filter(({ method }) => method === "GET");
      const [ours, theirs] = [join(home, "ours"), join(home, "theirs")];
      const into = (dir: string) =>
        run(
          env,
          `result = snapshot_download(${repository}, allow_patterns=${needed}, local_dir=${JSON.stringify(dir)})`,
        );
      await download({ dir: ours });
      server.requests.length = 0;
      await into(ours);
      assert.deepEqual(gets(), []);
      await into(theirs);
      server.requests.length = 0;
      await download({ dir: theirs });
      assert.deepEqual(gets(), []);
      assert.deepEqual(only(await filesOf(theirs), NEEDED), whole);
    }),
  ).timeout(60_000);

  it("a gated model: the token file that `hf auth login` writes serves both", () =>
    withScene(
      async ({ download, env, home }) => {
        await run(
          env,
          `from pathlib import Path\nPath(${JSON.stringify(join(home, "token"))}).write_text("hf_right")\nresult = get_token()`,
        );
        assert.deepEqual(await filesOf(await download()), whole);
        const script = `result = snapshot_download(${repository}, allow_patterns=${needed})`;
        assert.deepEqual(only(await filesOf((await run(env, script)) as string), NEEDED), whole);
      },
      FILES,
      { token: "hf_right" },
    )).timeout(60_000);
});
