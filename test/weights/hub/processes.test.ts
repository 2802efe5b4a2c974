import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { stat } from "node:fs/promises";
import { join } from "node:path";
import { packageRoot } from "../../../src/base/package-root.js";
import { sha256 } from "../../support/hub-server.js";
import { environment, FILES, filesOf, NEEDED, only, REPOSITORY, type Scene, withScene } from "./helpers.js";

const SHARD = "model-1.safetensors";

/** A process that downloads the repository and prints the folder. */
function downloader({ env }: Scene): ChildProcess & { result: Promise<string> } {
  const module = new URL("../../../weights/hub/download.ts", import.meta.url).href;
  const script = `import { downloadModel } from ${JSON.stringify(module)};
    console.log(await downloadModel(${JSON.stringify(REPOSITORY)}, { onNotice: (text) => console.error(text) }));`;
  const child = spawn(process.execPath, ["--import", "tsx", "--input-type=module", "-e", script], {
    cwd: packageRoot(), // where tsx is found
    env: environment(env),
  });
  let [out, told] = ["", ""];
  child.stdout.on("data", (text) => (out += text));
  child.stderr.on("data", (text) => (told += text));
  const result = new Promise<string>((resolve, reject) => {
    child.on("exit", (code) => (code === 0 ? resolve(out.trim()) : reject(new Error(`exit ${code}: ${told}`))));
  });
  return Object.assign(child, { result });
}

describe("weights/hub: several processes", () => {
  it("download each file once, and one that is killed leaves its part to the next", () =>
    withScene(async (scene) => {
      const { server, cache } = scene;
      const partial = join(cache, `models--google--tiny-mix/blobs/${sha256(FILES[SHARD])}.paligemma.incomplete`);
      server.fault = ({ path }, count) =>
        path.endsWith(sha256(FILES[SHARD])) && count === 0 ? { stallAfter: 200_000 } : undefined;
      const killed = downloader(scene);
      killed.result.catch(() => {});
      while ((await stat(partial).catch(() => null))?.size !== 200_000) {
        if (killed.exitCode !== null) await killed.result;
        await new Promise((resolve) => setImmediate(resolve));
      }
      killed.kill("SIGKILL");
      await killed.result.catch(() => {});
      const folders = await Promise.all([downloader(scene).result, downloader(scene).result]);
      assert.equal(folders[0], folders[1]);
      assert.deepEqual(await filesOf(folders[0]), only(FILES, NEEDED));
      const asked = (name: string) => server.fileRequests.filter(({ path }) => path.endsWith(`/${name}`));
      const rest = FILES[SHARD].length - 200_000;
      assert.deepEqual(
        asked(sha256(FILES[SHARD])).map(({ sent }) => sent),
        [200_000, rest],
        "the killed one's part was used",
      );
      for (const path of NEEDED.filter((path) => !path.startsWith("model-"))) assert.equal(asked(path).length, 1, path);
    })).timeout(60_000);
});
