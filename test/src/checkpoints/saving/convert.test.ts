import { strict as assert } from "node:assert";
import { cp, readdir, readFile, writeFile } from "node:fs/promises";
import path from "node:path";

import { InputError } from "../../../../src/base/errors.js";
import { parseConfig } from "../../../../src/model/config.js";
import { checkpointInfo } from "../../../../src/checkpoints/info/index.js";
import { PaliGemma } from "../../../../src/paligemma.js";
import { convertCheckpoint, type ConvertOptions } from "../../../../src/checkpoints/saving/convert.js";
import { canonicalName, fromFloat32, openFolder, toFloat32, WeightsError } from "../../../../weights/index.js";
import { LAYOUTS } from "../../../../weights/spellings.js";
import { fixtures } from "../../../parity/reference.js";
import { inTemporaryFolder } from "../../../support/temporary.js";
import { cli } from "../../../support/run-cli.js";
import { tinyFolder } from "../../../support/tiny.js";
import { writeTwin } from "../../../support/tiny-twin.js";
import { openWeights } from "../../../../weights/open-weights.js";

const npz = (name: string): string => path.join(fixtures, "npz", `${name}.npz`);
const keras = (name: string): string => path.join(fixtures, "keras", name);

/** Every tensor's type and bytes, by canonical name. */
async function tensorsOf(
  place: string,
): Promise<Map<string, { dtype: string; shape: readonly number[]; bytes: Buffer }>> {
  const checkpoint = await openWeights(await openFolder(place));
  const tensors = new Map<string, { dtype: string; shape: readonly number[]; bytes: Buffer }>();
  for (const [name, { dtype, shape }] of checkpoint.entries) {
    const pieces: Uint8Array[] = [];
    for await (const piece of checkpoint.pieces(name)) pieces.push(piece);
    tensors.set(name, { dtype, shape: [...shape], bytes: Buffer.concat(pieces) });
  }
  await checkpoint.close();
  return new Map([...tensors].sort());
}

describe("converting a checkpoint", () => {
  for (const [form, input, twin, tokenizer] of [
    ["hub names", "tiny-pg2-hub", "tiny-pg2", "tiny-pg2"],
    ["names below model.", "tiny-pg2-model-prefix", "tiny-pg2", "tiny-pg2"],
    ["the module tree's names", "tiny-pg2-in-memory", "tiny-pg2", "tiny-pg2"],
    ["a robot policy's names", "tiny-pg2-robotics", "tiny-pg2", "tiny-pg2"],
    ["a head of its own", "tiny-pg2-head", "tiny-pg2-head", "tiny-pg2-head"],
    ["shards", "tiny-pg2-sharded", "tiny-pg2", "tiny-pg2"],
    ["big_vision, f32", npz("tiny-pg1/f32"), "tiny-pg1", "tiny-pg1"],
    ["big_vision, bf16", npz("tiny-pg2/bf16"), "tiny-pg2-bf16", "tiny-pg2"],
    ["big_vision, f16", npz("tiny-pg2/f16"), "tiny-pg2-f16", "tiny-pg2"],
    ["big_vision, deflated", npz("tiny-pg2/deflated"), "tiny-pg2", "tiny-pg2"],
    ["Keras", keras("tiny-pg1"), "tiny-pg1", "tiny-pg1"],
    ["Keras with a tokenizer, bf16", keras("tiny-pg1-task"), "tiny-pg1-bf16", undefined],
    ["Keras in shards, bf16", keras("tiny-pg2-sharded"), "tiny-pg2-bf16", "tiny-pg2"],
  ] as const) {
    it(`keeps every bit: ${form}`, () =>
      inTemporaryFolder(async (folder) => {
        const place = path.isAbsolute(input) ? input : tinyFolder(input);
        const out = path.join(folder, "out");
        const saved = await convertCheckpoint(place, out, { tokenizer: tokenizer && tinyFolder(tokenizer) });
        const whole = path.isAbsolute(input) ? await writeTwin(twin, folder) : tinyFolder(twin);
        const expected = await tensorsOf(whole);
        assert.deepEqual(await tensorsOf(out), expected);
        assert.equal(saved.tensors, expected.size);
        assert.equal(
          saved.totalBytes,
          [...expected.values()].reduce((sum, { bytes }) => sum + bytes.length, 0),
        );
        const model = await PaliGemma.load(out, { backend: "cpu" });
        model.dispose();
      }));
  }

  it("of a big_vision archive says how many rows there are, and invents none", () =>
    inTemporaryFolder(async (folder) => {
      const out = path.join(folder, "out");
      await convertCheckpoint(npz("tiny-pg2/bf16"), out, { tokenizer: tinyFolder("tiny-pg2") });
      const config = parseConfig(JSON.parse(await readFile(path.join(out, "config.json"), "utf8")));
      assert.deepEqual([config.text.vocabSize, config.imageTokenId], [299, 299]);
      const table = (await tensorsOf(out)).get("language_model.model.embed_tokens.weight")!;
      assert.deepEqual(table.shape, [299, 32]);
    }));

  for (const layout of LAYOUTS) {
    it(`into the layout ${layout} and back gives the same tensors, in shards too`, () =>
      inTemporaryFolder(async (folder) => {
        const [there, back] = [path.join(folder, "there"), path.join(folder, "back")];
        const saved = await convertCheckpoint(tinyFolder("tiny-pg2-bf16"), there, {
          layout,
          maxShardSize: "30KB",
          tokenizer: tinyFolder("tiny-pg2"),
        });
        assert.equal(saved.files.length, 6);
        const index = await readFile(path.join(there, "model.safetensors.index.json"), "utf8");
        const { weight_map: map } = JSON.parse(index) as { weight_map: Record<string, string> };
        const spelled = Object.keys(map);
        assert.equal(new Set(spelled.map(canonicalName)).size, saved.tensors);
        assert.equal(
          spelled.some((name) => name.startsWith("language_model.model.")),
          ["hub", "vision-tower"].includes(layout),
        );
        await convertCheckpoint(there, back);
        assert.deepEqual(await tensorsOf(back), await tensorsOf(tinyFolder("tiny-pg2-bf16")));
      }));

    it(`into the layout ${layout} and back keeps a head of its own beside the embedding`, () =>
      inTemporaryFolder(async (folder) => {
        const [there, back] = [path.join(folder, "there"), path.join(folder, "back")];
        await convertCheckpoint(tinyFolder("tiny-pg2-head"), there, { layout });
        await convertCheckpoint(there, back);
        assert.deepEqual(await tensorsOf(back), await tensorsOf(tinyFolder("tiny-pg2-head")));
        const info = await checkpointInfo(there);
        // With both tensors a robot policy's names are those of `model` behind a prefix.
        assert.deepEqual([info.outputHead, info.layout.names], ["own", layout === "robotics" ? "model" : layout]);
      }));
  }

  it("into another type rounds every value once", () =>
    inTemporaryFolder(async (folder) => {
      const source = await tensorsOf(tinyFolder("tiny-pg1"));
      for (const [dtype, stored] of [
        ["bfloat16", "BF16"],
        ["float16", "F16"],
        ["float32", "F32"],
      ] as const) {
        const out = path.join(folder, dtype);
        const saved = await convertCheckpoint(tinyFolder("tiny-pg1"), out, { dtype });
        assert.deepEqual(Object.keys(saved.bytesByDtype), [stored]);
        for (const [name, { dtype, bytes }] of await tensorsOf(out)) {
          const values = toFloat32(source.get(name)!.bytes, "F32");
          assert.deepEqual(
            [dtype, bytes.toString("hex")],
            [stored, Buffer.from(fromFloat32(values, stored)).toString("hex")],
            name,
          );
        }
        const config = JSON.parse(await readFile(path.join(out, "config.json"), "utf8")) as { dtype: string };
        assert.equal(config.dtype, dtype);
      }
      assert.deepEqual(await tensorsOf(path.join(folder, "bfloat16")), await tensorsOf(tinyFolder("tiny-pg1-bf16")));
    }));

  it("copies what lies beside the weights, and makes what is missing", () =>
    inTemporaryFolder(async (folder) => {
      const [out, bare] = [path.join(folder, "out"), path.join(folder, "bare")];
      await convertCheckpoint(tinyFolder("tiny-pg2"), out);
      const names = (await readdir(tinyFolder("tiny-pg2"))).sort();
      assert.deepEqual((await readdir(out)).sort(), names);
      for (const name of names.filter((name) => !["config.json", "model.safetensors"].includes(name))) {
        const [a, b] = [path.join(out, name), path.join(tinyFolder("tiny-pg2"), name)];
        assert.deepEqual(await readFile(a), await readFile(b), name);
      }
      await convertCheckpoint(keras("tiny-pg1-task"), bare);
      const made = ["config.json", "generation_config.json", "model.safetensors", "preprocessor_config.json"];
      assert.deepEqual((await readdir(bare)).sort(), [...made, "tokenizer.model", "tokenizer_config.json"]);
      const original = await readFile(path.join(tinyFolder("tiny-pg1"), "preprocessor_config.json"), "utf8");
      const preprocessor = await readFile(path.join(bare, "preprocessor_config.json"), "utf8");
      assert.deepEqual(JSON.parse(preprocessor), JSON.parse(original));
    }));

  it("reports its progress and stops when it is told to, leaving nothing", () =>
    inTemporaryFolder(async (folder) => {
      const heard: number[] = [];
      const out = path.join(folder, "out");
      const saved = await convertCheckpoint(tinyFolder("tiny-pg1"), out, {
        onProgress: ({ phase, loadedBytes, totalBytes }) => {
          assert.equal(phase, "load");
          heard.push(loadedBytes / totalBytes);
        },
      });
      assert.equal(heard.length, saved.tensors);
      assert.ok(heard.every((share, i) => i === 0 || share > heard[i - 1]));
      assert.equal(heard.at(-1), 1);
      const stop = new AbortController();
      const stopped = convertCheckpoint(tinyFolder("tiny-pg1"), path.join(folder, "no"), {
        signal: stop.signal,
        onProgress: () => stop.abort(new Error("enough")),
      });
      await assert.rejects(stopped, /^Error: enough$/);
      assert.deepEqual(await readdir(folder), ["out"]);
    }));

  describe("is refused, and nothing is written,", () => {
    const refused = (input: string, options: ConvertOptions, kind: new (m: string) => Error, pattern: RegExp) =>
      inTemporaryFolder(async (folder) => {
        const thrown = (error: unknown): true => {
          assert.ok(error instanceof kind, String(error));
          assert.match(error.message, pattern);
          return true;
        };
        await assert.rejects(convertCheckpoint(input, path.join(folder, "out"), options), thrown);
        assert.deepEqual(await readdir(folder), []);
      });

    it("for options that cannot be", async () => {
      const tiny = tinyFolder("tiny-pg1");
      await refused(
        tiny,
        { dtype: "int8" as never },
        InputError,
        /dtype: expected one of bfloat16, float16, float32, received "int8"/,
      );
      await refused(
        tiny,
        { layout: "peft" as never },
        InputError,
        /layout: expected one of hub, vision-tower, model, in-memory, robotics/,
      );
      await refused(tiny, { maxShardSize: "much" }, InputError, /maxShardSize: expected a size/);
    });

    it("for weights that are not those of the config", () =>
      inTemporaryFolder(async (folder) => {
        await cp(tinyFolder("tiny-pg1"), folder, { recursive: true });
        await cp(path.join(tinyFolder("tiny-pg2"), "config.json"), path.join(folder, "config.json"));
        await refused(folder, {}, WeightsError, /the weights are not those of this model/);
      }));

    it("for a value that float16 has no number for", () =>
      inTemporaryFolder(async (folder) => {
        await cp(tinyFolder("tiny-pg1"), folder, { recursive: true });
        const file = path.join(folder, "model.safetensors");
        const bytes = await readFile(file);
        bytes.writeFloatLE(1e6, bytes.length - 4);
        await writeFile(file, bytes);
        await refused(folder, { dtype: "float16" }, WeightsError, /has the value 1000000, beyond float16's 65504/);
      }));
  });

  it("the command says what it wrote, and refuses a folder that is not empty", () =>
    inTemporaryFolder(async (folder) => {
      const out = path.join(folder, "out");
      const flags = ["--dtype", "bfloat16", "--max-shard-size", "60KB", "--layout", "model"];
      const tokenizer = ["--tokenizer", tinyFolder("tiny-pg2")];
      const { code, stdout, stderr } = await cli("convert", npz("tiny-pg2/f32"), out, ...flags, ...tokenizer);
      assert.equal(code, 0, stderr);
      assert.equal(
        stdout,
        `${out}: 101 tensors, BF16 0.1 MB, in 3 files, model-00001-of-00003.safetensors and so on\n`,
      );
      const again = await cli("convert", npz("tiny-pg2/f32"), out, ...tokenizer);
      assert.deepEqual([again.code, again.stdout], [1, ""]);
      assert.match(again.stderr, /^error: .*out: is not empty; choose another folder, or overwrite \(--overwrite\)\n$/);
      const json = await cli("convert", npz("tiny-pg2/f32"), out, ...tokenizer, "--overwrite", "--json");
      assert.deepEqual((JSON.parse(json.stdout) as { files: string[] }).files, ["model.safetensors"]);
      const weights = (await readdir(out)).filter((name) => name.startsWith("model"));
      assert.deepEqual(weights, ["model.safetensors"]);
      const answer = await cli(
        "generate",
        path.join(fixtures, "references", "tiny-pg2", "prompt", "picture-11.png"),
        "--prompt",
        "caption en",
        "--model",
        npz("tiny-pg2/f32"),
        ...tokenizer,
        "--backend",
        "cpu",
        "--max-new-tokens",
        "2",
      );
      assert.equal(answer.code, 0, answer.stderr);
    }));
});
