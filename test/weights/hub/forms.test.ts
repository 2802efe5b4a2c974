import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { rm } from "node:fs/promises";
import { join } from "node:path";
import { encodeNpz } from "../../../weights/index.js";
import { openHubFolder } from "../../../weights/hub/remote-folder.js";
import { fixtures } from "../../parity/reference.js";
import { weightsError } from "../helpers.js";
import { COMMIT, FILES, filesOf, only, REPOSITORY, type Scene, withScene } from "./helpers.js";

type Files = Record<string, Buffer>;
const read = (...path: string[]): Buffer => readFileSync(join(fixtures, ...path));
/** The files of a folder of fixtures, by their paths in it. */
const folderOf = (...path: string[]): Files =>
  Object.fromEntries(
    readdirSync(join(fixtures, ...path), { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map((entry) => join(entry.parentPath, entry.name).slice(join(fixtures, ...path).length + 1))
      .map((file) => [file, read(...path, file)]),
  );

const ARCHIVE = read("npz", "tiny-pg1", "f32.npz");
/** An archive of something else. */
const OTHER = Buffer.from(encodeNpz(new Map([["w", { dtype: "F32", shape: [1], data: new Uint8Array(4) }]])));
/** What lies in a repository besides, and is not read. */
const BESIDE: Files = {
  ...only(FILES, [".gitattributes", "README.md", "pytorch_model.bin", "model.gguf"]),
  "flax_model.msgpack": Buffer.from("flax"),
  "model.ckpt": Buffer.from("a pickle"),
  "old/pt_224.npz": ARCHIVE,
};
const ARCHIVES: Files = {
  ...BESIDE,
  "config.json": read("npz", "tiny-pg1", "config.json"),
  "paligemma-tiny.npz": ARCHIVE,
  "tokenizer.model": FILES["tokenizer.model"],
};
const PRESET: Files = { ...BESIDE, ...folderOf("keras", "tiny-pg1-task"), "metadata.json": Buffer.from("{}") };
const SHARDED: Files = { ...BESIDE, ...folderOf("keras", "tiny-pg2-sharded"), "task.weights.h5": OTHER };
const INDEX = "model.weights.json";
const SHARDS = ["model_00000.weights.h5", "model_00001.weights.h5", "model_00002.weights.h5"];

/** Each form: a repository, and those of its files that are needed. */
const FORMS: [string, Files, string[]][] = [
  ["an archive of big_vision", ARCHIVES, ["config.json", "paligemma-tiny.npz", "tokenizer.model"]],
  ["a Keras preset", PRESET, ["assets/tokenizer/vocabulary.spm", "config.json", "model.weights.h5"]],
  ["a Keras preset in shards", SHARDED, ["config.json", INDEX, ...SHARDS]],
];

const without = (files: Files, name: string): Files =>
  Object.fromEntries(Object.entries(files).filter(([path]) => path !== name));
const pathsOf = async (folder: string): Promise<string[]> => Object.keys(await filesOf(folder)).sort();
/** The files of which bytes were asked for, by the commit's address. */
const asked = ({ server }: Pick<Scene, "server">): string[] => [
  ...new Set(server.requests.flatMap(({ path }) => (path.includes("/resolve/") ? [path.split(`/${COMMIT}/`)[1]] : []))),
];

describe("weights/hub: forms of weights", () => {
  for (const [form, files, needed] of FORMS) {
    it(`of ${form} it brings what loading reads, whole, and asks for nothing else`, () =>
      withScene(async (scene) => {
        const folder = await scene.download();
        assert.deepEqual(await filesOf(folder), only(files, needed));
        assert.deepEqual(asked(scene).sort(), [...needed].sort());
        const totals = scene.server.fileRequests.filter(({ headers }) => !headers.range);
        assert.equal(totals.length, needed.length, "each file once");
        scene.server.requests.length = 0;
        assert.equal(await scene.download(), folder);
        assert.deepEqual(asked(scene), [], "and the second time for no file");
      }, files));

    it(`of ${form} the same comes into a plain folder`, () =>
      withScene(async ({ download, home }) => {
        const dir = join(home, "plain");
        assert.equal(await download({ dir }), dir);
        const found = Object.entries(await filesOf(dir)).filter(([path]) => !path.startsWith(".cache/"));
        assert.deepEqual(Object.fromEntries(found), only(files, needed));
      }, files));

    it(`of ${form} a whole copy will do without the Hub, and one that lacks something is told`, () =>
      withScene(async ({ download, env, server }) => {
        const folder = await download();
        server.requests.length = 0;
        env.HF_HUB_OFFLINE = "1";
        assert.equal(await download(), folder);
        assert.deepEqual(server.requests, []);
        await rm(join(folder, needed.at(-1)!.replace("tokenizer.model", "paligemma-tiny.npz")));
        await assert.rejects(download(), weightsError(/HF_HUB_OFFLINE forbids .* lacks .*(its weights|model\S*\.h5);/));
      }, files));
  }

  it("of an archive's repository the archive alone is enough, and so it is without the Hub", () =>
    withScene(
      async ({ download, env }) => {
        const folder = await download();
        assert.deepEqual(await pathsOf(folder), ["pt_224.npz"]);
        env.HF_HUB_OFFLINE = "1";
        assert.equal(await download(), folder);
      },
      { "pt_224.npz": ARCHIVE },
    ));

  it("the weights of masks come with an archive, and archives of other things are looked into and left there", () =>
    withScene(
      async (scene) => {
        assert.deepEqual(await pathsOf(await scene.download()), ["pt_224.npz", "vae-oid.npz"]);
        const whole = scene.server.fileRequests.filter(({ headers }) => !headers.range);
        assert.equal(whole.length, 2);
      },
      { "pt_224.npz": ARCHIVE, "params.npz": OTHER, "vae-oid.npz": OTHER },
    ));

  it("safetensors come where there are any, else a preset, else an archive", async () => {
    const all = {
      ...ARCHIVES,
      ...folderOf("keras", "tiny-pg1-task"),
      "model.safetensors": FILES["model-1.safetensors"],
    };
    const weights = async (files: Files): Promise<string[]> => {
      let found: string[] = [];
      await withScene(async (scene) => {
        found = (await pathsOf(await scene.download())).filter((path) => /\.(safetensors|h5|npz)$/.test(path));
        if (found[0] !== "paligemma-tiny.npz")
          assert.ok(!asked(scene).includes("paligemma-tiny.npz"), "not looked into");
      }, files);
      return found;
    };
    assert.deepEqual(await weights(all), ["model.safetensors"]);
    const two = without(all, "model.safetensors");
    assert.deepEqual(await weights(two), ["model.weights.h5"]);
    assert.deepEqual(await weights(without(two, "model.weights.h5")), ["paligemma-tiny.npz"]);
  });

  it("a tokenizer.model comes in place of a preset's vocabulary, for it is what is read", () =>
    withScene(
      async ({ download }) => {
        const paths = await pathsOf(await download());
        assert.ok(paths.includes("tokenizer.model") && !paths.some((path) => path.startsWith("assets/")), `${paths}`);
      },
      { ...PRESET, "tokenizer.model": FILES["tokenizer.model"] },
    ));

  describe("are refused", () => {
    /** A download is refused, nothing but an index being kept; so is opening by ranges, which takes no index. */
    const refused = (files: Files, patterns: RegExp[], byRanges = true): Promise<void> =>
      withScene(async ({ download, cache, env, home }) => {
        await assert.rejects(download(), weightsError(...patterns));
        const kept = await pathsOf(join(cache, "models--google--tiny-mix/snapshots")).catch(() => []);
        assert.deepEqual(
          kept.filter((path) => !path.endsWith(INDEX)),
          [],
        );
        if (!byRanges) return;
        await assert.rejects(openHubFolder(REPOSITORY, {}, { around: { env, home } }), weightsError(...patterns));
      }, files);

    it("when there are several models: all are named, and the address of one", () =>
      refused({ ...ARCHIVES, "paligemma-tiny.f16.npz": ARCHIVE, "params.npz": OTHER }, [
        /holds several models, paligemma-tiny\.f16\.npz, paligemma-tiny\.npz; give the address of one of the files/,
        /as in http:\/\/\S+\/google\/tiny-mix\/resolve\/0123\w+\/paligemma-tiny\.f16\.npz, or download it and give its path$/,
      ]));

    it("when there are so many archives that they are data: none is looked into", () =>
      withScene(
        async (scene) => {
          const many = /holds 33 archives, a0\.npz, a1\.npz, .* and so on; give the address of one of the files/;
          await assert.rejects(scene.download(), weightsError(many));
          assert.deepEqual(asked(scene), []);
        },
        Object.fromEntries(Array.from({ length: 33 }, (_, i) => [`a${i}.npz`, OTHER])),
      ));

    it("when there is none of a form that is read: the forms are said, and what there is", async () => {
      const forms =
        /has no weights in a form that is read \(model\.safetensors or .*\.index\.json, .*model\.weights\.h5 .*\*\.npz\)\)/;
      await refused({ ...BESIDE, "config.json": FILES["config.json"] }, [
        forms,
        /only pytorch_model\.bin, model\.gguf, .*model\.ckpt, /,
      ]);
      await refused({ "params.npz": OTHER }, [forms, /only params\.npz, which is not read$/]);
      await refused({ "README.md": FILES["README.md"] }, [forms, /none of any other$/]);
    });

    it("when an archive is none", () =>
      refused({ "pt_224.npz": FILES["model-1.safetensors"] }, [/^google\/tiny-mix@.*pt_224\.npz is no zip archive/]));

    it("when a preset has no config.json", () =>
      refused(without(PRESET, "config.json"), [/^google\/tiny-mix@\w+: has no config\.json; this is no model/]));

    const index = (file: string): Files => ({
      ...SHARDED,
      [INDEX]: Buffer.from(JSON.stringify({ weight_map: { "/a/vars": file } })),
      [file]: OTHER,
    });
    for (const name of ["../../evil.h5", "/etc/evil.h5", "..\\evil.h5", "C:evil.h5"]) {
      it(`when a preset's index leads out of the folder: ${name}`, () =>
        refused(index(name), [/does not stay in the folder/], false));
    }
    it("when a preset's index names a pickle, or what is not there", async () => {
      await refused(index("pytorch_model.bin"), [/to "pytorch_model\.bin", expected names of \.h5 files/], false);
      await refused(
        without(SHARDED, SHARDS[1]),
        [/model\.weights\.json: names model_00001\.weights\.h5, which the repository does not have/],
        false,
      );
    });
  });

  describe("an archive that is looked into", () => {
    it("is asked for again where the answer breaks off or the store is busy", () =>
      withScene(async ({ download, server }) => {
        server.fault = ({ host }, count) => (host === "store" ? [{ status: 503 }, { cutAfter: 10 }][count] : undefined);
        assert.deepEqual((await pathsOf(await download())).length, 3);
      }, ARCHIVES));

    it("is not found where the store ignores ranges, which is said", () =>
      withScene(async ({ download, server }) => {
        server.fault = ({ host }) => (host === "store" ? { ignoreRange: true } : undefined);
        const advice = /ignores Range requests; fetch this file by other means and give its path$/;
        await assert.rejects(download(), weightsError(/paligemma-tiny\.npz: /, advice));
      }, ARCHIVES));

    it("is refused as the model is where that is gated, and read with a token", () =>
      withScene(
        async ({ download }) => {
          await assert.rejects(download(), weightsError(/paligemma-tiny\.npz: the model is gated; visit/));
          assert.equal((await pathsOf(await download({ token: "hf_right" }))).length, 3);
        },
        ARCHIVES,
        { token: "hf_right" },
      ));

    it("with other bytes than its listing says is not kept", () =>
      withScene(async ({ download, server, cache }) => {
        const wrong = Buffer.from(ARCHIVE);
        wrong[wrong.length >> 1] ^= 1;
        server.fault = ({ host }) => (host === "store" ? { content: wrong } : undefined);
        await assert.rejects(download(), weightsError(/the bytes that came are not those of/));
        const kept = await pathsOf(join(cache, "models--google--tiny-mix/snapshots"));
        assert.ok(kept.every((path) => !path.endsWith(".npz")));
      }, ARCHIVES));
  });
});
