import { strict as assert } from "node:assert";
import { spawn } from "node:child_process";
import { mkdir, readdir, readFile, rm, writeFile } from "node:fs/promises";
import path from "node:path";

import { InputError } from "../../../../src/base/errors.js";
import { intoFolder, isWeights } from "../../../../src/checkpoints/saving/output-folder.js";
import { parseSize } from "../../../../src/checkpoints/saving/size.js";
import { markName, thisProcess } from "../../../../weights/process-mark.js";
import { inTemporaryFolder } from "../../../support/temporary.js";

const fill = (files: Record<string, string>) => async (folder: string) => {
  for (const [name, content] of Object.entries(files)) await writeFile(path.join(folder, name), content);
  return "done";
};
const contentOf = async (folder: string): Promise<Record<string, string>> =>
  Object.fromEntries(
    await Promise.all(
      (await readdir(folder)).sort().map(async (name) => [name, await readFile(path.join(folder, name), "utf8")]),
    ),
  );

describe("an output folder", () => {
  it("appears when everything is written, in folders that need not be there yet", () =>
    inTemporaryFolder(async (root) => {
      const target = path.join(root, "a", "b");
      assert.equal(await intoFolder(target, { overwrite: false }, fill({ x: "1" })), "done");
      assert.deepEqual(await contentOf(target), { x: "1" });
      assert.deepEqual(await readdir(path.join(root, "a")), ["b"]);
    }));

  it("may be there and empty", () =>
    inTemporaryFolder(async (root) => {
      const target = path.join(root, "a");
      await mkdir(target);
      await intoFolder(target, { overwrite: false }, fill({ x: "1" }));
      assert.deepEqual(await contentOf(target), { x: "1" });
    }));

  it("that is empty but for what a killed process left is empty", () =>
    inTemporaryFolder(async (root) => {
      const target = path.join(root, "a");
      const child = spawn(process.execPath, ["-e", ""]);
      await new Promise((resolve) => child.on("exit", resolve));
      const part = (pid: number) => `.new.part-${markName({ ...thisProcess(), pid, start: "" })}.0123abcd`;
      await mkdir(path.join(target, part(child.pid!)), { recursive: true });
      await intoFolder(target, { overwrite: false }, fill({ x: "1" }));
      assert.deepEqual(await contentOf(target), { x: "1" });
      await fill({ [part(process.ppid)]: "" })(target);
      await rm(path.join(target, "x"));
      const writing = intoFolder(target, { overwrite: false }, fill({ x: "2" }));
      await assert.rejects(writing, /is not empty/, "a living process is at work there");
    }));

  it("is not there when writing fails, and nothing is left of it", () =>
    inTemporaryFolder(async (root) => {
      const failing = async (folder: string) => {
        await fill({ x: "1" })(folder);
        throw new Error("no more");
      };
      await assert.rejects(intoFolder(path.join(root, "a"), { overwrite: false }, failing), /^Error: no more$/);
      assert.deepEqual(await readdir(root), []);
      await fill({ old: "0" })(root);
      await assert.rejects(intoFolder(root, { overwrite: true, outdated: isWeights }, failing), /no more/);
      assert.deepEqual(await contentOf(root), { old: "0" });
    }));

  it("is not written into when it holds something, unless that is asked for", () =>
    inTemporaryFolder(async (root) => {
      await fill({ "notes.txt": "mine" })(root);
      const thrown = (error: unknown): true => {
        assert.ok(error instanceof InputError);
        assert.match(error.message, /is not empty; choose another folder, or overwrite/);
        return true;
      };
      const never = () => assert.fail("nothing is written first");
      await assert.rejects(intoFolder(root, { overwrite: false }, never), thrown);
      await assert.rejects(
        intoFolder(path.join(root, "notes.txt"), { overwrite: true }, never),
        /expected a folder .*, found a file/,
      );
    }));

  it("overwriting replaces files of the same name and all weights, and leaves others", () =>
    inTemporaryFolder(async (root) => {
      const old = {
        "config.json": "old",
        "model.safetensors": "old",
        "model-00001-of-00002.safetensors": "old",
        "model-00002-of-00002.safetensors": "old",
        "model.safetensors.index.json": "old",
        "my.safetensors": "mine",
        "notes.txt": "mine",
      };
      await fill(old)(root);
      await intoFolder(
        root,
        { overwrite: true, outdated: isWeights },
        fill({ "config.json": "new", "model.safetensors": "new" }),
      );
      assert.deepEqual(await contentOf(root), {
        "config.json": "new",
        "model.safetensors": "new",
        "my.safetensors": "mine",
        "notes.txt": "mine",
      });
    }));
});

describe("sizes", () => {
  it("are numbers of bytes, or have units of 1000 and of 1024", () => {
    for (const [size, bytes] of [
      [5, 5],
      ["5", 5],
      ["5B", 5],
      ["60KB", 60_000],
      ["500 MB", 500_000_000],
      ["5GB", 5e9],
      ["1.5gb", 1.5e9],
      ["2GiB", 2 ** 31],
      ["1TB", 1e12],
    ] as const) {
      assert.equal(parseSize("s", size), bytes, String(size));
    }
  });

  it("of any other form are refused", () => {
    for (const size of ["", "GB", "-5GB", "5XB", "5 G B", "0", 0, -1, NaN, Infinity, "1e9", "9999999TB"]) {
      assert.throws(
        () => parseSize("maxShardSize", size),
        /^InputError: maxShardSize: expected a size such as "5GB"|maxShardSize/,
      );
      assert.throws(() => parseSize("maxShardSize", size), InputError, String(size));
    }
  });
});
