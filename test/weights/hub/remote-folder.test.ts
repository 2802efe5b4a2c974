import assert from "node:assert/strict";
import { openHubFolder } from "../../../weights/hub/remote-folder.js";
import { PIECE } from "../../../weights/hub/remembering-source.js";
import { readShardIndex } from "../../../weights/shard-index.js";
import type { Folder } from "../../../weights/byte-source.js";
import type { Fault } from "../../support/hub-server.js";
import { weightsError } from "../helpers.js";
import { COMMIT, FILES, filesOf, RESTLESS, REPOSITORY, type Scene, withScene } from "./helpers.js";

const SHARD = "model-1.safetensors";
const opened = ({ env, home, notices }: Scene, options = {}): Promise<Folder> =>
  openHubFolder(
    REPOSITORY,
    { onNotice: (text) => notices.push(text), ...options },
    { around: { env, home }, patience: RESTLESS },
  );

describe("weights/hub/remote-folder", () => {
  it("reads parts of large files and whole small ones where they lie, and stores nothing", () =>
    withScene(async (scene) => {
      const folder = await opened(scene);
      assert.deepEqual([folder.name, folder.localPath], [`${REPOSITORY}@${COMMIT}`, null]);
      assert.deepEqual(await folder.readJson("config.json"), { model_type: "paligemma" });
      assert.equal((await readShardIndex(folder)).weightMap.size, 3);
      assert.deepEqual([await folder.has(SHARD), await folder.has("vae-oid.npz")], [true, false]);
      const source = await folder.open(SHARD);
      assert.equal(source.size, FILES[SHARD].length);
      for (const [start, end] of [
        [0, 8],
        [8, 70_000],
        [source.size - 1, source.size],
        [5, 5],
      ]) {
        assert.deepEqual(Buffer.from(await source.read(start, end)), FILES[SHARD].subarray(start, end));
      }
      await source.close();
      assert.deepEqual(await filesOf(scene.home), {});
      const sent = scene.server.fileRequests.filter(({ host }) => host === "store").map(({ sent }) => sent);
      assert.deepEqual(sent, [PIECE, 69_992, 1]);
    }));

  it("reads the copy in the cache where it is of the same commit", () =>
    withScene(async (scene) => {
      const path = await scene.download();
      scene.server.requests.length = 0;
      assert.equal((await opened(scene)).localPath, path);
      assert.deepEqual(scene.server.fileRequests, []);
      scene.env.HF_HUB_OFFLINE = "1";
      assert.equal((await opened(scene)).localPath, path);
      delete scene.env.HF_HUB_OFFLINE;
      const newer = "f".repeat(40);
      scene.repository.commits[newer] = FILES;
      scene.repository.refs.main = newer;
      assert.equal((await opened(scene)).name, `${REPOSITORY}@${newer}`);
    }));

  it("refuses what is no model, and what it may not see", async () => {
    await withScene(
      async (scene) =>
        assert.rejects(opened(scene), weightsError(/has no weights in a form that is read .*, only a\.bin/)),
      {
        "a.bin": Buffer.from(""),
      },
    );
    await withScene(
      async (scene) => {
        const folder = await opened(scene); // its listing is public
        await assert.rejects(folder.readBytes("config.json"), weightsError(/config\.json: the model is gated; visit/));
        const trusted = await opened(scene, { token: "hf_right" });
        assert.deepEqual(Buffer.from(await trusted.readBytes("config.json")), FILES["config.json"]);
      },
      FILES,
      { token: "hf_right" },
    );
  });

  const size = FILES[SHARD].length;
  const lies: [string, Fault, RegExp | null][] = [
    ["ignores ranges", { ignoreRange: true }, /127\.0\.0\.1:\d+ ignores Range requests; download the model instead/],
    [
      "sends another range",
      { contentRange: `bytes 1-9/${size}` },
      /asked for bytes 0 to 32768 of 300001, .* sends "bytes 1-9/,
    ],
    ["sends less", { cutAfter: 3 }, null],
    ["is busy", { status: 503 }, null],
    ["falls silent", { stallAfter: 3 }, null],
  ];
  for (const [what, fault, message] of lies) {
    it(`a store that ${what} is ${message === null ? "asked again" : "refused"}`, () =>
      withScene(async (scene) => {
        scene.server.fault = ({ host }, count) => (host === "store" && (message || count === 0) ? fault : undefined);
        const source = await (await opened(scene)).open(SHARD);
        const reading = source.read(0, 8);
        if (message) await assert.rejects(reading, weightsError(message));
        else assert.deepEqual(Buffer.from(await reading), FILES[SHARD].subarray(0, 8));
        await assert.rejects(source.read(0, size + 1), weightsError(/bytes 0\.\.300002 were asked for/));
      }));
  }

  it("a small file with a wrong byte is refused, and so is one that is too long", () =>
    withScene(async (scene) => {
      const folder = await opened(scene);
      scene.server.fault = ({ path }) =>
        path.endsWith("/config.json") ? { content: Buffer.from('{"model_type":"paligemmA"}') } : undefined;
      await assert.rejects(folder.readBytes("config.json"), weightsError(/the bytes that came are not those of/));
      scene.server.fault = () => undefined;
      assert.deepEqual(await folder.readJson("config.json"), { model_type: "paligemma" }, "and right the next time");
      await assert.rejects(
        folder.readBytes("tokenizer.model", 1999),
        weightsError(/2000 bytes, expected at most 1999/),
      );
      await assert.rejects(folder.open("../config.json"), weightsError(/there is no such file/));
    }));
});
