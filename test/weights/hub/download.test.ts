import assert from "node:assert/strict";
import { lstat, mkdir, readFile, readlink, rm, stat, truncate, utimes, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { DownloadProgress } from "../../../weights/hub/download.js";
import { downloadModel } from "../../../weights/hub/download.js";
import { gitSha1, sha256 } from "../../support/hub-server.js";
import { weightsError } from "../helpers.js";
import { COMMIT, FILES, filesOf, NEEDED, only, REPOSITORY, withScene } from "./helpers.js";

const SHARD = "model-1.safetensors";
const OTHER = "f".repeat(40);

describe("weights/hub/download", () => {
  it("brings exactly the files that a model needs, in the layout of huggingface_hub", () =>
    withScene(async ({ download, cache, server }) => {
      const folder = await download();
      const root = join(cache, "models--google--tiny-mix");
      assert.equal(folder, join(root, "snapshots", COMMIT));
      assert.deepEqual(await filesOf(folder), only(FILES, NEEDED));
      assert.equal(await readFile(join(root, "refs", "main"), "utf8"), COMMIT);
      assert.equal(await readlink(join(folder, SHARD)), `../../blobs/${sha256(FILES[SHARD])}`);
      assert.equal(await readlink(join(folder, "config.json")), `../../blobs/${gitSha1(FILES["config.json"])}`);
      const blobs = Object.keys(await filesOf(join(root, "blobs")));
      assert.equal(blobs.length, NEEDED.length, "no partial is left");
      assert.deepEqual(await filesOf(join(cache, ".locks")), {});
      assert.match(
        await readFile(join(cache, "CACHEDIR.TAG"), "utf8"),
        /^Signature: 8a477f597d28d172789f06886806bc55\n/,
      );
      assert.equal(server.fileRequests.length, NEEDED.length, "each file once");
    }));

  it("asks for no file a second time, and for nothing but the commit and its listing", () =>
    withScene(async ({ download, server }) => {
      const folder = await download();
      server.requests.length = 0;
      assert.equal(await download(), folder);
      assert.equal(await download({ revision: COMMIT }), folder);
      const paths = server.requests.map(({ path }) => path.replace(`/api/models/${REPOSITORY}`, ""));
      assert.deepEqual(paths, ["/revision/main", `/tree/${COMMIT}`, `/tree/${COMMIT}`]);
    }));

  it("takes the one weight file where there is no index, and vae-oid.npz where there is one", () => {
    const single = { ...only(FILES, ["config.json", "tokenizer.model"]), "model.safetensors": FILES[SHARD] };
    const files = { ...single, "vae-oid.npz": Buffer.from("npz"), "other.npz": Buffer.from("npz") };
    return withScene(async ({ download }) => {
      assert.deepEqual(Object.keys(await filesOf(await download())).sort(), [
        "config.json",
        "model.safetensors",
        "tokenizer.model",
        "vae-oid.npz",
      ]);
    }, files);
  });

  it("takes what an adapter is made of, which needs no model beside it", () => {
    const adapter = only(
      { ...FILES, "adapter_config.json": Buffer.from("{}"), "adapter_model.safetensors": FILES[SHARD] },
      ["adapter_config.json", "adapter_model.safetensors", "tokenizer.json"],
    );
    const files = {
      ...adapter,
      "adapter_model.bin": Buffer.from("a pickle"),
      "training_args.bin": Buffer.from("another"),
    };
    return withScene(async ({ download, env }) => {
      const folder = await download();
      assert.deepEqual(await filesOf(folder), adapter);
      env.HF_HUB_OFFLINE = "1";
      assert.equal(await download(), folder);
      await rm(join(folder, "adapter_model.safetensors"));
      await assert.rejects(download(), weightsError(/lacks adapter_model\.safetensors;/));
    }, files);
  });

  it("keeps revisions apart and shares what they have in common", () =>
    withScene(async ({ download, repository, cache, server }) => {
      const changed = { ...FILES, "config.json": Buffer.from('{"dtype":"bfloat16"}') };
      repository.commits[OTHER] = changed;
      repository.refs["refs/pr/1"] = OTHER;
      await download();
      server.requests.length = 0;
      const folder = await download({ revision: "refs/pr/1" });
      assert.deepEqual(await filesOf(folder), only(changed, NEEDED));
      assert.deepEqual(
        server.fileRequests.map(({ path }) => path.split("/").at(-1)),
        ["config.json"],
      );
      assert.equal(await readFile(join(cache, "models--google--tiny-mix/refs/refs/pr/1"), "utf8"), OTHER);
      repository.refs.main = OTHER;
      assert.equal(await download(), folder, "a branch that moved is followed");
    }));

  it("follows a listing over its pages, at the Hub that it asked", () =>
    withScene(async ({ download, server }) => {
      server.pageSize = 3;
      assert.deepEqual(await filesOf(await download()), only(FILES, NEEDED));
      assert.equal(server.requests.filter(({ path }) => path.includes("/tree/")).length, 6);
    }));

  it("reports bytes of all files together, from what is there to the last", () =>
    withScene(async ({ download, server }) => {
      server.fault = ({ host }) => (host === "store" ? { cutAfter: 100_000 } : undefined);
      const stop = new AbortController();
      const cut: DownloadProgress[] = [];
      const stopped = download({
        signal: stop.signal,
        onProgress: (progress) => {
          cut.push(progress);
          if (progress.loadedBytes > 120_000) stop.abort(new Error("enough"));
        },
      });
      await assert.rejects(stopped, /enough/);
      server.fault = () => undefined;
      const seen: DownloadProgress[] = [];
      await download({ onProgress: (progress) => seen.push(progress) });
      for (const run of [cut, seen]) {
        run.reduce((before, { loadedBytes }) => (assert.ok(loadedBytes >= before), loadedBytes), 0);
      }
      const weights = FILES[SHARD].length + FILES["model-2.safetensors"].length;
      assert.ok(seen[0].loadedBytes > 50_000, "what was there counts");
      assert.equal(seen.at(-1)!.loadedBytes, seen.at(-1)!.totalBytes);
      assert.equal(seen.at(-1)!.totalBytes, weights, "small files were whole already");
      assert.ok(seen.every(({ file }) => file.endsWith(".safetensors")));
      await download({ onProgress: () => assert.fail("nothing was missing") });
    }));

  it("puts plain files into a folder, with the notes of huggingface_hub, and touches none that is right", () =>
    withScene(async ({ download, home, server, cache }) => {
      const dir = join(home, "plain");
      await mkdir(dir);
      await writeFile(join(dir, SHARD), FILES[SHARD]); // right already
      await writeFile(join(dir, "config.json"), "{}"); // another
      assert.equal(await download({ dir }), dir);
      assert.ok(server.requests.every(({ path }) => !path.endsWith(SHARD)));
      const { ".cache/huggingface/.gitignore": ignored, ...files } = await filesOf(dir);
      assert.equal(ignored.toString(), "*");
      const notes = Object.keys(files).filter((path) => path.startsWith(".cache/"));
      assert.deepEqual(notes.sort(), NEEDED.map((path) => `.cache/huggingface/download/${path}.metadata`).sort());
      const [commit, etag, time] = files[notes.find((path) => path.includes(SHARD))!].toString().split("\n");
      assert.deepEqual([commit, etag], [COMMIT, sha256(FILES[SHARD])]);
      assert.ok(Math.abs(Number(time) - Date.now() / 1000) < 600);
      for (const path of NEEDED) {
        assert.deepEqual(files[path], FILES[path]);
        assert.ok((await lstat(join(dir, path))).isFile(), "no link");
      }
      assert.equal(await stat(cache).catch(() => null), null, "the cache is left alone");
      server.requests.length = 0;
      await download({ dir });
      assert.deepEqual(server.fileRequests, []);
    }));

  it("brings a file of such a folder again that was changed, and none that was only touched", () =>
    withScene(async ({ download, home, server }) => {
      const dir = join(home, "plain");
      await download({ dir });
      const later = new Date(Date.now() + 3_600_000);
      await utimes(join(dir, SHARD), later, later);
      await writeFile(
        join(dir, "tokenizer.model"),
        FILES["tokenizer.model"].map((byte) => byte ^ 1),
      );
      await utimes(join(dir, "tokenizer.model"), later, later);
      server.requests.length = 0;
      await download({ dir });
      assert.deepEqual(
        server.fileRequests.map(({ path }) => path.split("/").at(-1)),
        ["tokenizer.model"],
      );
      assert.deepEqual(await readFile(join(dir, "tokenizer.model")), FILES["tokenizer.model"]);
    }));

  it("without links a snapshot holds the files themselves, and they are not fetched again", () =>
    withScene(async ({ download, env, server, repository }) => {
      env.HF_HUB_DISABLE_SYMLINKS = "1";
      const folder = await download();
      assert.ok((await lstat(join(folder, SHARD))).isFile());
      assert.deepEqual(await filesOf(folder), only(FILES, NEEDED));
      server.requests.length = 0;
      await download();
      assert.deepEqual(server.fileRequests, []);
      repository.commits[OTHER] = { ...FILES };
      await download({ revision: OTHER });
    }));

  it("a blob or a plain file that was cut short is fetched anew", () =>
    withScene(async ({ download, cache }) => {
      const folder = await download();
      await truncate(join(cache, "models--google--tiny-mix/blobs", sha256(FILES[SHARD])), 1000);
      assert.deepEqual(await filesOf(await download()), only(FILES, NEEDED));
      assert.deepEqual(await readFile(join(folder, SHARD)), FILES[SHARD]);
    }));

  describe("offline", () => {
    it("HF_HUB_OFFLINE asks nothing: a whole copy will do, for a branch and for a commit", () =>
      withScene(async ({ download, env, server }) => {
        const folder = await download();
        server.requests.length = 0;
        env.HF_HUB_OFFLINE = "1";
        assert.equal(await download(), folder);
        assert.equal(await download({ revision: COMMIT }), folder);
        assert.deepEqual(server.requests, []);
      }));

    it("it forbids the first download, and says what is missing of a copy that is not whole", () =>
      withScene(async ({ download, env, server }) => {
        env.HF_HUB_OFFLINE = "true";
        const none = weightsError(
          /HF_HUB_OFFLINE forbids to ask the Hub, and the cache .* has none of it; download it once/,
        );
        await assert.rejects(download(), none);
        await assert.rejects(
          download({ dir: "x" }),
          weightsError(/HF_HUB_OFFLINE forbids to ask the Hub, and nobody else/),
        );
        assert.deepEqual(server.requests, []);
        delete env.HF_HUB_OFFLINE;
        const folder = await download();
        env.HF_HUB_OFFLINE = "1";
        const lacks: [string, string, RegExp][] = [
          [folder, "model-2.safetensors", /lacks model-2\.safetensors;/],
          [folder, "config.json", /lacks config\.json, model-2\.safetensors;/],
          [folder, "model.safetensors.index.json", /lacks config\.json, its weights;/],
        ];
        for (const [where, file, message] of lacks) {
          await rm(join(where, file));
          await assert.rejects(download(), weightsError(message));
        }
      }));

    it("a Hub that cannot be reached, is busy or refuses is told once, and the copy is used", () =>
      withScene(async ({ download, env, server, notices, repository }) => {
        const folder = await download();
        repository.hidden = true;
        repository.token = "hf_right";
        assert.equal(await download(), folder);
        assert.match(notices.pop()!, /no such repository, or none to see.*; using the copy in the cache, /s);
        server.fault = () => ({ status: 503 });
        server.requests.length = 0;
        assert.equal(await download(), folder);
        assert.match(notices.pop()!, /answered 503; using the copy in the cache, /);
        assert.equal(server.requests.length, 1, "one try");
        env.HF_ENDPOINT = "http://127.0.0.1:9";
        assert.equal(await download(), folder);
        assert.match(notices.pop()!, /127\.0\.0\.1:9 cannot be reached .*; using the copy/);
        assert.deepEqual(notices, []);
      }));

    it("but a branch that is gone is an error, and so is a Hub that cannot be reached without a copy", () =>
      withScene(async ({ download, env, repository }) => {
        await download();
        delete repository.refs.main;
        await assert.rejects(
          download(),
          weightsError(/@main: there is no such branch, tag or commit; .*\/tree\/main$/),
        );
        env.HF_ENDPOINT = "http://127.0.0.1:9";
        await assert.rejects(
          download({ revision: "other" }),
          weightsError(/127\.0\.0\.1:9 cannot be reached \(bad port\)$/),
        );
      }));
  });

  describe("a repository that is none of a model", () => {
    const refused = (files: Record<string, Buffer>, message: RegExp) =>
      withScene(async ({ download, server, cache }) => {
        await assert.rejects(download(), weightsError(message));
        assert.ok(server.fileRequests.every(({ path }) => path.endsWith("index.json")));
        const blobs = await filesOf(join(cache, "models--google--tiny-mix/snapshots")).catch(() => ({}));
        assert.ok(Object.keys(blobs).every((path) => path.endsWith("index.json")));
      }, files);
    const index = (shard: string) => ({
      "config.json": FILES["config.json"],
      "model.safetensors.index.json": Buffer.from(JSON.stringify({ weight_map: { a: shard } })),
      [shard]: FILES[SHARD],
    });

    it("names the weights of other formats that it has, and fetches none", () =>
      refused(
        only(FILES, ["config.json", "pytorch_model.bin", "model.gguf"]),
        /has no weights in a form that is read \(.*\), only pytorch_model\.bin, model\.gguf, which is not read$/,
      ));
    it("needs a config", () => refused({ "model.safetensors": FILES[SHARD] }, /has no config\.json/));
    it("needs the shards that its index names", () => {
      const files: Record<string, Buffer> = { ...index("model-1.safetensors") };
      files["model.safetensors.index.json"] = FILES["model.safetensors.index.json"];
      return refused(files, /names model-2\.safetensors, which the repository does not have/);
    });
    for (const name of ["../../evil.safetensors", "/etc/evil.safetensors", "a/../../evil.safetensors"]) {
      it(`is refused when its listing leads out of the folder: ${name}`, () =>
        refused(index(name), /does not stay in the folder/));
    }
    for (const name of ["..\\evil.safetensors", "C:evil.safetensors"]) {
      it(`is refused when its index leads out of the folder on some system: ${name}`, () =>
        refused(index(name), /index\.json: the file name .* does not stay in the folder/));
    }
    it("is refused when its index names a pickle", () =>
      refused(index("pytorch_model.bin"), /names "pytorch_model\.bin", expected a safetensors file/));
  });

  it("is refused by names and revisions that could become other paths or addresses", () =>
    withScene(async ({ download, server }) => {
      for (const name of [
        "x",
        "a/b/c",
        "../b",
        "a/..",
        "a/b--c",
        "a/b.git",
        "a/b?c",
        "a/b#c",
        "-a/b",
        "a/",
        "/b",
        "a b/c",
      ]) {
        await assert.rejects(downloadModel(name), weightsError(/expected owner\/name/), name);
      }
      for (const revision of ["", "../main", "a//b", "/main", "a\\b", "x".repeat(300)]) {
        await assert.rejects(download({ revision }), weightsError(/expected a branch|does not stay/), revision);
      }
      assert.deepEqual(server.requests, []);
    }));

  it("says what the disk needs and what it has before a weight comes, counting what is there", () =>
    withScene(async ({ download, server, cache }) => {
      const total = NEEDED.reduce((sum, path) => sum + FILES[path].length, 0);
      const index = FILES["model.safetensors.index.json"].length;
      const asked: string[] = [];
      const free = (bytes: number | null) => ({
        freeBytes: async (folder: string) => {
          asked.push(folder);
          return bytes;
        },
      });
      const short = /needs 0\.00 GB of disk, 0\.00 GB are free; make room, or let HF_HUB_CACHE or --dir name a place/;
      await assert.rejects(download({}, free(total - index - 1)), weightsError(short));
      assert.deepEqual(asked, [join(cache, "models--google--tiny-mix/snapshots", COMMIT)]);
      assert.equal(server.fileRequests.length, 1, "the index alone");
      server.fault = ({ host }) => (host === "store" ? { cutAfter: 1000 } : undefined);
      await assert.rejects(download({}, free(total)), /ended|no whole answer/);
      server.fault = () => undefined;
      await download({}, free(500_004 - 2000)); // both partials have at least a thousand bytes
      await download({}, free(0)); // nothing is missing
    }));

  it("two callers at once download each file once", () =>
    withScene(async ({ download, server, notices }) => {
      const folders = await Promise.all([download(), download(), download()]);
      assert.equal(new Set(folders).size, 1);
      assert.deepEqual(await filesOf(folders[0]), only(FILES, NEEDED));
      assert.equal(server.fileRequests.length, NEEDED.length);
      assert.ok(notices.some((text) => /: process \d+ on .* is downloading it; waiting/.test(text)));
    }));

  it("an aborted signal stops it at once, with its own reason, and the next call goes on from there", () =>
    withScene(async ({ download, server, cache }) => {
      server.fault = ({ path }) => (path.endsWith(sha256(FILES[SHARD])) ? { stallAfter: 123_456 } : undefined);
      const stop = new AbortController();
      const onProgress = ({ loadedBytes, totalBytes }: DownloadProgress) => {
        const rest = FILES[SHARD].length - 123_456;
        if (totalBytes - loadedBytes === rest) stop.abort(new Error("enough"));
      };
      await assert.rejects(download({ signal: stop.signal, onProgress }), /^Error: enough$/);
      const partial = join(cache, `models--google--tiny-mix/blobs/${sha256(FILES[SHARD])}.paligemma.incomplete`);
      assert.equal((await stat(partial)).size, 123_456);
      assert.deepEqual(await filesOf(join(cache, ".locks")), {}, "no lock is left");
      server.fault = () => undefined;
      server.requests.length = 0;
      assert.deepEqual(await filesOf(await download()), only(FILES, NEEDED));
      assert.deepEqual(
        server.fileRequests.map(({ headers, sent }) => [headers.range, sent]),
        [["bytes=123456-", FILES[SHARD].length - 123_456]],
      );
      await assert.rejects(download({ signal: AbortSignal.abort(new Error("before")) }), /^Error: before$/);
    }));
});
