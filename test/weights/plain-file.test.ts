import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { symlink } from "node:fs/promises";
import { join } from "node:path";
import { FileTooLongError, NotAFileError, openPlainSync, readNote, readPlain } from "../../weights/plain-file.js";
import { randomBytes, randomOf, withFolder } from "./helpers.js";

describe("weights/plain-file", () => {
  it("reads all bytes of a file, through links, up to the limit and no further", async () => {
    const content = randomBytes(2_300_001, randomOf(23)); // more than two pieces
    await withFolder({ "a.bin": content, empty: new Uint8Array(0) }, async (path) => {
      await symlink(join(path, "a.bin"), join(path, "link"));
      assert.deepEqual(await readPlain(join(path, "link"), content.length), content);
      assert.deepEqual(await readPlain(join(path, "empty"), 0), new Uint8Array(0));
      await assert.rejects(readPlain(join(path, "a.bin"), content.length - 1), FileTooLongError);
    });
  });

  it("reads what gives its size as 0, up to the limit as well", async () => {
    const status = Buffer.from(await readPlain("/proc/self/status", 1e6)).toString();
    assert.match(status, /^Name:/);
    await assert.rejects(readPlain("/proc/self/status", 100), FileTooLongError);
  });

  it("reads notes of at most 64 KiB as text", () =>
    withFolder({ note: Buffer.from("a né\n"), long: new Uint8Array(2 ** 16 + 1) }, async (path) => {
      assert.equal(await readNote(join(path, "note")), "a né\n");
      await assert.rejects(readNote(join(path, "long")), FileTooLongError);
    }));

  it("refuses a pipe without waiting for it, a device and a folder", () =>
    withFolder({}, async (path) => {
      const pipe = join(path, "pipe");
      execFileSync("mkfifo", [pipe]);
      for (const [place, kind] of [
        [pipe, "a pipe"],
        ["/dev/zero", "a device"],
        [path, "a folder"],
      ]) {
        const refused = (error: unknown) => error instanceof NotAFileError && error.kind === kind;
        await assert.rejects(readPlain(place, 10), refused, place);
        assert.throws(() => openPlainSync(place), refused, place);
      }
    }));
});
