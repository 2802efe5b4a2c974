import { strict as assert } from "node:assert";
import { cp, open, readFile, rm, writeFile } from "node:fs/promises";
import path from "node:path";
import { deflateRawSync } from "node:zlib";

import { useBackend } from "../../../src/backends/backend.js";
import { ConfigError } from "../../../src/base/errors.js";
import { readRun } from "../../../src/runs/run-files.js";
import { MaskCodec } from "../../../src/masks/codec.js";
import { loadTokenizer } from "../../../src/input/tokenizer/tokenizer.js";
import { requireMemoryFor } from "../../../weights/available-memory.js";
import { crc32 } from "../../../weights/crc32.js";
import { memorySource, openFolder } from "../../../weights/source.js";
import { inTemporaryFolder } from "../../support/temporary.js";
import { tinyFolder } from "../../support/tiny.js";
import { fileOf, weightsError } from "../../weights/helpers.js";

/** Writes a file that claims one tensor of so many float32 and has them as a hole, which takes no room on the disk. */
async function writeHollow(file: string, name: string, shape: number[]): Promise<void> {
  const bytes = 4 * shape.reduce((size, axis) => size * axis, 1);
  const header = fileOf({ [name]: { dtype: "F32", shape, data_offsets: [0, bytes] } });
  await writeFile(file, header);
  const handle = await open(file, "r+");
  await handle.truncate(header.length + bytes);
  await handle.close();
}

describe("a small file that claims much is refused before memory is taken for it:", () => {
  it("what needs more than is available, by its name", () => {
    requireMemoryFor("file", 100, 100);
    assert.throws(
      () => requireMemoryFor("file", 3e9, 2e9),
      weightsError(/^file: what it holds needs 3\.0 GB .* 2\.0 GB/),
    );
  });

  it("a run of activations with a hole of a terabyte", () =>
    inTemporaryFolder(async (folder) => {
      const file = path.join(folder, "run.safetensors");
      await writeHollow(file, "language.ln_final.hook_out", [250_000, 1_000_000]);
      await assert.rejects(readRun(file), weightsError(/run\.safetensors: what it holds needs 1000\.0 GB of memory/));
    }));

  it("a file of masks that unpacks to more than any has", async () => {
    await useBackend("cpu");
    const packed = deflateRawSync(Buffer.alloc(2 ** 22));
    const size = 2 ** 28 + 1;
    const local = Buffer.alloc(30);
    local.writeUInt32LE(0x04034b50, 0);
    local.writeUInt16LE(8, 8);
    local.writeUInt16LE(5, 26);
    const name = Buffer.from("a.npy");
    const central = Buffer.alloc(46);
    central.writeUInt32LE(0x02014b50, 0);
    central.writeUInt16LE(8, 10);
    central.writeUInt32LE(crc32(Buffer.alloc(1)), 16);
    central.writeUInt32LE(300_000, 20);
    central.writeUInt32LE(size, 24);
    central.writeUInt16LE(5, 28);
    const end = Buffer.alloc(22);
    end.writeUInt32LE(0x06054b50, 0);
    end.writeUInt16LE(1, 8);
    end.writeUInt16LE(1, 10);
    end.writeUInt32LE(46 + 5, 12);
    const body = Buffer.concat([local, name, packed, Buffer.alloc(300_000 - packed.length)]);
    end.writeUInt32LE(body.length, 16);
    const source = memorySource("vae.npz", Buffer.concat([body, central, name, end]));
    await assert.rejects(MaskCodec.load(source), weightsError(/^vae\.npz: "a\.npy" claims to become 268435457 bytes/));
  });

  it("a tokenizer.json with a regular expression", () =>
    inTemporaryFolder(async (folder) => {
      await cp(tinyFolder("tiny-pg2"), folder, { recursive: true });
      await rm(path.join(folder, "tokenizer.model"), { force: true });
      const file = path.join(folder, "tokenizer.json");
      const json = JSON.parse(await readFile(file, "utf8")) as Record<string, unknown>;
      const tokenizers = await openFolder(folder);
      assert.equal((await loadTokenizer(tokenizers)).kind, "tokenizers");
      const pattern = { type: "Replace", pattern: { Regex: "(a+)+$" }, content: "b" };
      for (const part of ["normalizer", "pre_tokenizer", "decoder"]) {
        const inside = { type: "Sequence", [`${part}s`]: [pattern] };
        await writeFile(file, JSON.stringify({ ...json, [part]: inside }));
        await assert.rejects(
          loadTokenizer(tokenizers),
          (error: Error) =>
            error instanceof ConfigError &&
            error.message.includes(`tokenizer.json: ${part}: expected patterns of plain text`),
        );
      }
    }));
});
