import assert from "node:assert/strict";
import { cp, rm, writeFile } from "node:fs/promises";
import path from "node:path";

import { demoCheckpoint } from "../../src/base/demo-checkpoint.js";
import { PaliGemma } from "../../src/paligemma.js";
import { kindOfStart } from "../../weights/foreign-file.js";
import { inTemporaryFolder } from "../support/temporary.js";

const POINTER =
  "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32\nsize 12345\n";
const PAGE = "<!DOCTYPE html>\n<html><head><title>Sign in</title></head></html>";

/** A file of the demo's folder that is replaced, what lies in its way, and what it should have been. */
const FILES: readonly (readonly [file: string, inTheWay: string | null, expected: string])[] = [
  ["config.json", null, "JSON"],
  ["preprocessor_config.json", null, "JSON"],
  ["tokenizer.model", null, "a sentencepiece model"],
  ["tokenizer.json", "tokenizer.model", "JSON"],
  ["model.safetensors", null, "a safetensors file"],
  ["model.safetensors.index.json", null, "JSON"],
  ["pt_224.npz", "model.safetensors", "a zip archive"],
  ["model.weights.h5", "model.safetensors", "an HDF5 file"],
];

describe("a file of a model that is another kind of file", () => {
  for (const [file, inTheWay, expected] of FILES) {
    it(`is called by it: ${file}`, () =>
      inTemporaryFolder(async (scratch) => {
        const folder = path.join(scratch, "model");
        await cp(demoCheckpoint(), folder, { recursive: true });
        if (inTheWay !== null) await rm(path.join(folder, inTheWay));
        for (const [content, found] of [
          [POINTER, "a Git LFS pointer; run `git lfs pull`"],
          [PAGE, "a page of HTML"],
        ] as const) {
          await writeFile(path.join(folder, file), content);
          await assert.rejects(PaliGemma.load(folder, { backend: "cpu", onNotice: () => {} }), (error: Error) => {
            assert.match(error.name, /^(Weights|Config)Error$/);
            const start = `${path.join(folder, file)}: expected ${expected}, found ${found}`;
            assert.ok(error.message.startsWith(start), error.message);
            return true;
          });
        }
      }));
  }

  it("is unknown where nothing tells", () => {
    assert.equal(kindOfStart(new Uint8Array(0)), null);
    assert.equal(kindOfStart(new Uint8Array(15)), null);
    assert.equal(kindOfStart(new TextEncoder().encode("some text")), null);
  });
});
