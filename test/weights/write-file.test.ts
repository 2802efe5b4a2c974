import assert from "node:assert/strict";
import { execFile, spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { chmod, link, lstat, mkdir, readdir, readFile, readlink, stat, symlink, writeFile } from "node:fs/promises";
import path from "node:path";
import { pathToFileURL } from "node:url";
import { promisify } from "node:util";

import { packageRoot } from "../../src/base/package-root.js";
import { markName, thisProcess } from "../../weights/process-mark.js";
import { clearAbandoned, withTemporary } from "../../weights/temporary.js";
import { replaceFile, writeWholeFile } from "../../weights/write-file.js";
import { inTemporaryFolder } from "../support/temporary.js";
import { weightsError } from "./helpers.js";

const unix = process.platform !== "win32";
const bytes = (text: string): Uint8Array[] => [Buffer.from(text.slice(0, 2)), Buffer.from(text.slice(2))];
const textOf = (file: string): Promise<string> => readFile(file, "utf8");

/**
 * Runs a script of this project's modules in another process, after shell commands; gives its exit code and what it
 * printed.
 */
async function child(script: string, before = "true"): Promise<{ code: number | string; stdout: string }> {
  const module = (name: string): string =>
    JSON.stringify(pathToFileURL(path.join(packageRoot(), "weights", name)).href);
  const source = `import { replaceFile } from ${module("write-file.ts")};
    import { withTemporary } from ${module("temporary.ts")}; ${script}`;
  const line = `${before}; exec "$0" --import tsx --input-type=module -e "$1"`;
  const run = promisify(execFile)("bash", ["-c", line, process.execPath, source], {
    cwd: packageRoot(),
    env: { ...process.env, TSX_DISABLE_CACHE: "1" }, // whose files would exceed a limit too
  });
  return run.then(
    ({ stdout }) => ({ code: 0, stdout }),
    ({ code, stdout }: { code: number | string; stdout: string }) => ({ code, stdout }),
  );
}

describe("a file that is written completely or not at all", () => {
  it("is there with its bytes, and nothing else is", () =>
    inTemporaryFolder(async (folder) => {
      await replaceFile(path.join(folder, "a"), bytes("first"));
      await replaceFile(path.join(folder, "a"), bytes("second"));
      assert.equal(await textOf(path.join(folder, "a")), "second");
      assert.deepEqual(await readdir(folder), ["a"]);
    }));

  it("stays as it was where making or writing it fails", () =>
    inTemporaryFolder(async (folder) => {
      const file = path.join(folder, "a");
      await writeFile(file, "old");
      async function* failing() {
        yield Buffer.from("ne");
        assert.equal((await readdir(folder)).length, 2, "it is written beside its place");
        throw new Error("no more");
      }
      await assert.rejects(writeWholeFile(file, failing()), /^Error: no more$/);
      const wrong = [Buffer.from("ne"), { length: 3 } as Uint8Array];
      await assert.rejects(writeWholeFile(file, wrong), weightsError(/a: cannot be written/));
      assert.deepEqual([await textOf(file), await readdir(folder)], ["old", ["a"]]);
    }));

  it("keeps the link that leads to it, also one to what is not there yet", () =>
    inTemporaryFolder(async (folder) => {
      await mkdir(path.join(folder, "b"));
      await writeFile(path.join(folder, "b", "real"), "old");
      await symlink(path.join("b", "real"), path.join(folder, "one"));
      await symlink("one", path.join(folder, "two"));
      await symlink(path.join("b", "new"), path.join(folder, "dangling"));
      await replaceFile(path.join(folder, "two"), bytes("new text"));
      await replaceFile(path.join(folder, "dangling"), bytes("more text"));
      assert.equal(await readlink(path.join(folder, "two")), "one");
      assert.equal(await readlink(path.join(folder, "one")), path.join("b", "real"));
      assert.equal(await textOf(path.join(folder, "b", "real")), "new text");
      assert.equal(await textOf(path.join(folder, "b", "new")), "more text");
      assert.deepEqual((await readdir(path.join(folder, "b"))).sort(), ["new", "real"]);
    }));

  it("a circle of links is an error", () =>
    inTemporaryFolder(async (folder) => {
      await symlink("b", path.join(folder, "a"));
      await symlink("a", path.join(folder, "b"));
      await assert.rejects(replaceFile(path.join(folder, "a"), bytes("text")), { code: "ELOOP" });
    }));

  it("keeps its permissions, and a fresh one gets those of any new file", async function () {
    if (!unix) this.skip();
    await inTemporaryFolder(async (folder) => {
      const modeOf = async (name: string) => (await stat(path.join(folder, name))).mode & 0o7777;
      for (const mode of [0o600, 0o664, 0o755]) {
        await writeFile(path.join(folder, "a"), "old");
        await chmod(path.join(folder, "a"), mode);
        await replaceFile(path.join(folder, "a"), bytes("text"));
        assert.equal(await modeOf("a"), mode);
      }
      await writeFile(path.join(folder, "plain"), "");
      await replaceFile(path.join(folder, "fresh"), bytes("text"));
      assert.equal(await modeOf("fresh"), await modeOf("plain"));
    });
  });

  it("that may not be written is not replaced either, though its folder would let it", async function () {
    if (!unix || process.getuid!() === 0) this.skip(); // the system's user may write everything
    await inTemporaryFolder(async (folder) => {
      await writeFile(path.join(folder, "a"), "old", { mode: 0o444 });
      await assert.rejects(replaceFile(path.join(folder, "a"), bytes("text")), { code: "EACCES" });
      assert.equal(await textOf(path.join(folder, "a")), "old");
    });
  });

  it("another name of it keeps the old bytes whole", () =>
    inTemporaryFolder(async (folder) => {
      await writeFile(path.join(folder, "a"), "old");
      await link(path.join(folder, "a"), path.join(folder, "b"));
      await replaceFile(path.join(folder, "a"), bytes("text"));
      assert.deepEqual([await textOf(path.join(folder, "a")), await textOf(path.join(folder, "b"))], ["text", "old"]);
    }));

  it("may have the longest name that there is", () =>
    inTemporaryFolder(async (folder) => {
      const names = ["x".repeat(255), "\u00e9".repeat(127)];
      for (const name of names) await replaceFile(path.join(folder, name), bytes("text"));
      assert.deepEqual((await readdir(folder)).sort(), names.sort());
    }));

  it("cannot take the place of a folder", () =>
    inTemporaryFolder(async (folder) => {
      await mkdir(path.join(folder, "a"));
      await assert.rejects(replaceFile(path.join(folder, "a"), bytes("text")), { code: "EISDIR" });
      assert.deepEqual(await readdir(folder), ["a"]);
    }));

  it("a device and a pipe are written into, and stay what they are", async function () {
    if (!unix) this.skip();
    await replaceFile("/dev/null", bytes("text"));
    assert.ok((await lstat("/dev/null")).isCharacterDevice());
    if (existsSync("/dev/full")) await assert.rejects(replaceFile("/dev/full", bytes("text")), { code: "ENOSPC" });
    await inTemporaryFolder(async (folder) => {
      const pipe = path.join(folder, "pipe");
      await promisify(execFile)("mkfifo", [pipe]);
      const read = textOf(pipe);
      await replaceFile(pipe, bytes("through it"));
      assert.equal(await read, "through it");
      assert.deepEqual(await readdir(folder), ["pipe"]);
    });
  });

  it("/dev/stdout is what the process was given, a file among them", async function () {
    if (!existsSync("/dev/stdout")) this.skip();
    await inTemporaryFolder(async (folder) => {
      const script = `await replaceFile("/dev/stdout", [Buffer.from("one,")]); process.stdout.write("two");`;
      assert.deepEqual(await child(script, "exec 1> >(cat)"), { code: 0, stdout: "one,two" });
      const file = path.join(folder, "out");
      await child(script.replace('"two"', '""'), `exec > '${file}'`);
      assert.deepEqual([await textOf(file), await readdir(folder)], ["one,", ["out"]]);
    });
  });

  it("stays as it was where the system allows no more bytes", async function () {
    if (!unix) this.skip();
    await inTemporaryFolder(async (folder) => {
      const file = path.join(folder, "a");
      await writeFile(file, "old");
      const script = `process.on("SIGXFSZ", () => {});
        await replaceFile(${JSON.stringify(file)}, [new Uint8Array(3e5), new Uint8Array(3e5)]).catch(({ code }) => console.log(code));`;
      assert.deepEqual(await child(script, "ulimit -f 400"), { code: 0, stdout: "EFBIG\n" });
      assert.deepEqual([await textOf(file), await readdir(folder)], ["old", ["a"]]);
    });
  });
});

describe("what is being made", () => {
  it("is removed by the next to make something there where its process has ended, and left to a living one", () =>
    inTemporaryFolder(async (folder) => {
      const [own, gone] = [thisProcess(), spawn(process.execPath, ["-e", ""])];
      await new Promise((resolve) => gone.on("exit", resolve));
      const name = (mark: Partial<typeof own>, of = "a") => `.${of}.part-${markName({ ...own, ...mark })}.0a1b2c3d`;
      const left = name({ pid: gone.pid! });
      const other = name({ pid: gone.pid!, start: "" }, "of another\nfile");
      const stays = [
        name({}), // of this process
        name({ pid: process.ppid, start: "" }),
        name({ pid: gone.pid!, host: "elsewhere" }),
        name({ pid: gone.pid! }).slice(1), // not hidden, so none of ours
        `${name({ pid: gone.pid! })}.txt`,
        ".a.part-notes",
      ];
      await mkdir(path.join(folder, left));
      await writeFile(path.join(folder, left, "inside"), "");
      for (const one of [...stays, other]) await writeFile(path.join(folder, one), "");
      await replaceFile(path.join(folder, "a"), bytes("text"));
      assert.deepEqual((await readdir(folder)).sort(), [...stays, "a"].sort());
    }));

  it("two that one process makes at the same time do not meet", () =>
    inTemporaryFolder(async (folder) => {
      const file = path.join(folder, "a");
      await withTemporary(file, async (one) => {
        await writeFile(one, "1");
        await withTemporary(file, async (two) => assert.notEqual(one, two));
        await clearAbandoned(folder);
        assert.equal(await textOf(one), "1");
      });
      assert.deepEqual(await readdir(folder), []);
    }));

  it("does not outlive process.exit", () =>
    inTemporaryFolder(async (folder) => {
      const script = `await withTemporary(${JSON.stringify(path.join(folder, "a"))}, async (made) => {
        const { mkdirSync, readdirSync } = await import("node:fs");
        mkdirSync(made + "/in", { recursive: true });
        console.log(readdirSync(${JSON.stringify(folder)}).length);
        process.exit(3);
      });`;
      const { code, stdout } = await child(script);
      assert.deepEqual([code, stdout, await readdir(folder)], [3, "1\n", []]);
    }));
});
