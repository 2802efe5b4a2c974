import assert from "node:assert/strict";
import { link, mkdir, symlink, writeFile } from "node:fs/promises";
import path from "node:path";

import { InputError } from "../../../../src/base/errors.js";
import { requireApart, type Written } from "../../../../src/checkpoints/saving/require-apart.js";
import { inTemporaryFolder } from "../../../support/temporary.js";

/** A folder with a picture, its other names, and a folder of masks; `at` gives paths in it. */
const withFiles = (body: (at: (...names: string[]) => string) => Promise<void>): Promise<void> =>
  inTemporaryFolder(async (folder) => {
    const at = (...names: string[]) => path.join(folder, ...names);
    await mkdir(at("masks"));
    await writeFile(at("photo.png"), "picture");
    await writeFile(at("other.png"), "picture");
    await symlink("photo.png", at("link.png"));
    await symlink("link.png", at("second.png"));
    await link(at("photo.png"), at("hard.png"));
    await symlink("masks", at("linked"));
    await symlink(at("masks", "later.png"), at("dangling.png"));
    await body(at);
  });

const numbered = (name: string): boolean => /^\d+\.png$/.test(name);
const file = (path: string): Written => ({ name: "--out", path });
const folder = (path: string): Written => ({ name: "--masks", path, holds: numbered });

describe("what is written", () => {
  it("is refused where it is a file that is read, by whatever name, and both are named", () =>
    withFiles(async (at) => {
      for (const read of ["photo.png", "link.png", "hard.png"]) {
        for (const out of [
          "photo.png",
          "link.png",
          "second.png",
          "hard.png",
          "masks/../photo.png",
          "linked/../photo.png",
        ]) {
          const asked = requireApart([file(at(out))], [{ name: "<image>", files: [at("other.png"), at(read)] }]);
          await assert.rejects(asked, (error: Error) => {
            assert.ok(error instanceof InputError);
            assert.ok(error.message.startsWith(`--out ${at(out)}: expected another file than <image> ${at(read)}, `));
            return true;
          });
        }
      }
    }));

  it("is not refused beside what is read, there or not yet", () =>
    withFiles(async (at) => {
      const read = [{ name: "<image>", files: [at("photo.png"), at("absent.png")] }];
      for (const out of ["other.png", "new.png", "masks/photo.png", "no/folder.png"]) {
        await requireApart([file(at(out))], read);
      }
      await requireApart([file("/dev/null")], [{ name: "<image>", files: ["/dev/null"] }]);
    }));

  it("is refused where neither is there yet and both would be one", () =>
    withFiles(async (at) => {
      const read = [{ name: "<image>", files: [at("linked", "later.png")] }];
      await assert.rejects(requireApart([file(at("masks", "later.png"))], read), /expected another file than <image>/);
    }));

  it("in a folder is refused where one of the files there is read and may be replaced", () =>
    withFiles(async (at) => {
      const read = (name: string) => [{ name: "<image>", files: [at(name)] }];
      await requireApart([folder(at("masks"))], read("photo.png"));
      await requireApart([folder(at("."))], read("photo.png")); // no name that is written there
      await link(at("photo.png"), at("masks", "3.png"));
      for (const name of ["masks", "linked"]) {
        await assert.rejects(requireApart([folder(at(name))], read("photo.png")), {
          message: new RegExp(
            `^--masks .*${name}: expected another file than <image> .*photo\\.png, which would be lost`,
          ),
        });
      }
      await requireApart([folder(at("masks"))], read("other.png"));
    }));

  it("twice is refused: a file in the folder that is written, in any order, there or not", () =>
    withFiles(async (at) => {
      for (const written of [
        [file(at("masks", "1.png")), folder(at("linked"))],
        [folder(at("masks")), file(at("linked", "1.png"))],
      ]) {
        await assert.rejects(requireApart(written, []), /--masks .* expected another file than --out .*1\.png/);
      }
      await requireApart([file(at("masks", "boxes.png")), folder(at("masks"))], []);
    }));
});
