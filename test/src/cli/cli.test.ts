import { strict as assert } from "node:assert";
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";

import { splitGlobs } from "../../../src/cli/inspect.js";
import { hookCatalogue } from "../../../src/model/hook-catalogue.js";
import { parseConfig } from "../../../src/model/config.js";
import { compare } from "../../parity/compare.js";
import { fixtures, readReference, readTensors } from "../../parity/reference.js";
import { onEachBackend } from "../../support/backends.js";
import { requestsOf } from "../../support/serve.js";
import { cli } from "../../support/run-cli.js";
import { tinyFolder } from "../../support/tiny.js";

const referenceFolder = path.join(fixtures, "references", "tiny-pg2", "prompt");
const picture = path.join(
  referenceFolder,
  readdirSync(referenceFolder).find((name) => name.endsWith(".png"))!,
);
const tiny = tinyFolder("tiny-pg2");

describe("the command line", () => {
  let scratch: string;
  before(() => {
    scratch = mkdtempSync(path.join(tmpdir(), "paligemma-cli-"));
  });
  after(() => rmSync(scratch, { recursive: true }));

  onEachBackend("with a model", (backend) => {
    it("generate --json prints one object with the reference's tokens", async () => {
      const reference = await readReference(referenceFolder);
      const flags = ["--model", tiny, "--backend", backend, "--max-new-tokens", "24", "--json"];
      const { code, stdout, stderr } = await cli("generate", picture, "--prompt", "caption en", ...flags);
      assert.equal(code, 0, stderr);
      const answer = JSON.parse(stdout);
      assert.equal(stdout.trim().split("\n").length, 1);
      assert.deepEqual(Object.keys(answer), [
        "text",
        "tokens",
        "promptTokens",
        "finishReason",
        "backend",
        "dtype",
        "timings",
      ]);
      assert.deepEqual(answer.tokens, reference.greedy[0]);
      assert.deepEqual(
        [answer.promptTokens, answer.finishReason, answer.backend, answer.dtype],
        [22, "length", backend, "float32"],
      );
    });

    it("inspect writes the chosen activations as F32 under their names, equal to the reference, with metadata", async () => {
      const out = path.join(scratch, `${backend}.safetensors`);
      const hooks = "language.blocks.{0,3}.attn.hook_pattern,vision.ln_final.**";
      const flags = ["--model", tiny, "--backend", backend, "--hooks", hooks, "--out", out];
      const { code, stdout, stderr } = await cli("inspect", picture, "--prompt", "caption en", ...flags);
      assert.equal(code, 0, stderr);
      assert.match(stdout, /^4 activations -> /);
      const { taps } = await readReference(referenceFolder);
      const written = await readTensors(out);
      assert.deepEqual([...written.keys()].sort(), [
        "language.blocks.0.attn.hook_pattern",
        "language.blocks.3.attn.hook_pattern",
        "vision.ln_final.hook_out",
        "vision.ln_final.hook_scale",
      ]);
      for (const [name, { shape, values }] of written) {
        assert.deepEqual(shape, taps.get(name)!.shape);
        assert.ok(compare(values, taps.get(name)!.values).scaled < 2e-5, name);
      }
      const metadata = readMetadata(out);
      const expected = { segments: "image:[0,16) bos:16 prefix:[17,21) newline:21", grid: "4x4", prompt: "caption en", schema: "1", step: "0", backend }; // prettier-ignore
      for (const [key, value] of Object.entries(expected)) assert.equal(metadata[key], value, key);
      assert.deepEqual(JSON.parse(metadata.image_size_original), [[53, 37]]);
      assert.equal(JSON.parse(metadata.tokens)[0].length, 22);
      assert.equal(JSON.parse(metadata.token_strings)[0][16], "<bos>");
    });
  });

  it("generate streams plain text that ends with a newline", async () => {
    const flags = ["--model", tiny, "--backend", "cpu", "--max-new-tokens", "2"];
    const { code, stdout, stderr } = await cli("generate", picture, "--prompt", "caption en", ...flags);
    assert.deepEqual([code, stdout, stderr], [0, "0d\n", ""]);
  });

  it("hooks prints name and shape of every activation from the config alone", async () => {
    const bare = path.join(scratch, "config-only");
    mkdirSync(bare);
    cpSync(path.join(tiny, "config.json"), path.join(bare, "config.json"));
    const { code, stdout } = await cli("hooks", "--model", bare);
    assert.equal(code, 0);
    const catalogue = hookCatalogue(parseConfig(JSON.parse(readFileSync(path.join(tiny, "config.json"), "utf8"))));
    assert.equal(stdout, catalogue.map(({ name, shape }) => `${name} [${shape.join(", ")}]\n`).join(""));
    assert.ok(stdout.includes("language.blocks.3.attn.hook_rot_k [B, T, 2, 16]\n"));
  });

  it("info tells variant, sizes, stored type and parameters without reading the weights", async () => {
    const { code, stdout } = await cli("info", "--model", tinyFolder("tiny-pg2-bf16"));
    assert.equal(code, 0);
    assert.match(stdout, /PaliGemma 2, 28 px/);
    assert.match(stdout, /BF16/);
    const { parameters } = JSON.parse((await cli("info", "--model", tiny, "--json")).stdout);
    const reads = await requestsOf(tiny, async (url) => void (await cli("info", "--model", url)));
    const ranges = reads.filter(({ file }) => file === "model.safetensors").map(({ bytes }) => bytes);
    assert.ok(ranges.length > 0 && Math.max(...ranges) < 20_000, `the header alone is read: ${ranges}`);
    const entries = [...(await readTensors(path.join(tiny, "model.safetensors"))).values()];
    assert.equal(
      parameters.total,
      entries.reduce((sum, { values }) => sum + values.length, 0),
    );
  });

  it("commas inside braces do not part globs", () => {
    assert.deepEqual(splitGlobs("a.{b,c}.d,e,f.{g,h}"), ["a.{b,c}.d", "e", "f.{g,h}"]);
  });

  describe("bad input", () => {
    /** A copy of the tiny checkpoint that `damage` may change. */
    const damaged = (name: string, damage: (folder: string) => void): string => {
      const folder = path.join(scratch, name);
      cpSync(tiny, folder, { recursive: true });
      damage(folder);
      return folder;
    };
    const write = (folder: string, name: string, text: string) => writeFileSync(path.join(folder, name), text);
    const edit = (folder: string, change: (config: Record<string, Record<string, unknown>>) => void) => {
      const file = path.join(folder, "config.json");
      const config = JSON.parse(readFileSync(file, "utf8"));
      change(config);
      writeFileSync(file, JSON.stringify(config));
    };
    const withModel = (model: string) => ["generate", picture, "--prompt", "x", "--backend", "cpu", "--model", model];
    const withImage = (image: string) => ["generate", image, "--prompt", "x", "--backend", "cpu", "--model", tiny];
    const withPrompt = (prompt: string) => [
      "generate",
      picture,
      "--prompt",
      prompt,
      "--backend",
      "cpu",
      "--model",
      tiny,
    ];
    const scratchFile = (name: string, content: string | Buffer) => {
      writeFileSync(path.join(scratch, name), content);
      return path.join(scratch, name);
    };

    const cases: [why: string, args: () => string[], message: RegExp][] = [
      ["a missing picture", () => withImage("no-such.png"), /no-such\.png/],
      ["an empty picture", () => withImage(scratchFile("empty.png", "")), /empty\.png.*empty/],
      ["a picture that is none", () => withImage(scratchFile("text.png", "hello there")), /text\.png.*JPEG/],
      ["a cut picture", () => withImage(scratchFile("cut.png", readFileSync(picture).subarray(0, 120))), /cut\.png/],
      ["a folder as picture", () => withImage(tmpdir()), /folder|directory/],
      ["a missing model folder", () => withModel(path.join(scratch, "nowhere")), /nowhere: there is no such folder/],
      ["a folder that is no model", () => withModel(fixtures), /there is no config\.json/],
      ["a config that is not JSON", () => withModel(damaged("json", (f) => write(f, "config.json", "{"))), /config\.json/],
      ["an unknown architecture", () => withModel(damaged("arch", (f) => edit(f, (c) => Object.assign(c, { model_type: "llava" })))), /model_type.*llava/],
      ["a missing tokenizer", () => withModel(damaged("tok", (f) => { for (const n of ["tokenizer.model", "tokenizer.json"]) rmSync(path.join(f, n)); })), /tokenizer\.model.*tokenizer\.json/],
      ["a corrupt tokenizer", () => withModel(damaged("badtok", (f) => write(f, "tokenizer.model", "nonsense"))), /tokenizer\.model/],
      ["no weights", () => withModel(damaged("noweights", (f) => rmSync(path.join(f, "model.safetensors")))), /model\.safetensors/],
      ["truncated weights", () => withModel(damaged("short", (f) => truncateSync(path.join(f, "model.safetensors"), 9000))), /model\.safetensors/],
      ["weights that are none", () => withModel(damaged("noise", (f) => write(f, "model.safetensors", "x".repeat(500)))), /model\.safetensors/],
      ["weights of another shape", () => withModel(damaged("shape", (f) => edit(f, (c) => { c.text_config.intermediate_size = 50; }))), /misshapen.*gate_proj\.weight/s],
      ["weights of more layers", () => withModel(damaged("layers", (f) => edit(f, (c) => { c.text_config.num_hidden_layers = 5; c.text_config.layer_types = undefined; }))), /missing \(11\).*layers\.4\./s],
      ["a missing shard", () => withModel(damaged("shard", (f) => {
        rmSync(path.join(f, "model.safetensors"));
        cpSync(tinyFolder("tiny-pg2-sharded"), f, { recursive: true });
        rmSync(path.join(f, "model-00002-of-00003.safetensors"));
      })), /model-00002-of-00003\.safetensors.*missing/],
      ["an unknown backend", () => [...withModel(tiny), "--backend", "gpu"], /--backend.*gpu.*tensorflow/],
      ["an unknown dtype", () => [...withModel(tiny), "--dtype", "int3"], /--dtype.*int3.*float32/],
      ["a missing prompt", () => ["generate", picture], /--prompt/],
      ["no picture", () => ["generate", "--prompt", "x"], /image/],
      ["two <image> marks for one picture", () => withPrompt("<image><image>what?"), /2 <image>.*1 image/],
      ["a prompt beyond the context", () => withPrompt("a ".repeat(9000)), /8192/],
      ["no number where one is due", () => [...withModel(tiny), "--max-new-tokens", "many"], /--max-new-tokens.*many/],
      ["a limit of zero", () => [...withModel(tiny), "--max-new-tokens", "0"], /maxNewTokens.*0/],
      ["a temperature below zero", () => [...withModel(tiny), "--temperature", "-1"], /temperature.*-1/],
      ["an unknown command", () => ["frobnicate"], /frobnicate/],
      ["a glob that matches nothing", () => ["inspect", picture, "--prompt", "x", "--backend", "cpu", "--model", tiny, "--hooks", "vision.blocks.*.hook_q", "--out", path.join(scratch, "none.safetensors")], /"vision\.blocks\.\*\.hook_q" matches no activation/],
      ["a place where no file can be written", () => ["inspect", picture, "--prompt", "x", "--backend", "cpu", "--model", tiny, "--hooks", "vision.hook_embed", "--out", path.join(scratch, "no", "where.safetensors")], /where\.safetensors/],
    ]; // prettier-ignore

    for (const [why, args, message] of cases) {
      it(`${why}: exit code 1 and a sentence that names it, no stack`, async () => {
        const { code, stdout, stderr } = await cli(...args());
        assert.equal(code, 1);
        assert.equal(stdout, "");
        assert.match(stderr, message);
        assert.doesNotMatch(stderr, /\n\s+at /, "a stack trace");
      });
    }

    it("a file that cannot be put in its place leaves nothing half written", async () => {
      const taken = path.join(scratch, "taken");
      mkdirSync(path.join(taken, "x.safetensors", "occupied"), { recursive: true });
      const out = path.join(taken, "x.safetensors");
      const flags = ["--backend", "cpu", "--model", tiny, "--hooks", "vision.hook_embed", "--out", out];
      const { code, stderr } = await cli("inspect", picture, "--prompt", "x", ...flags);
      assert.equal(code, 1);
      assert.match(stderr, /x\.safetensors/);
      assert.deepEqual(readdirSync(taken), ["x.safetensors"]);
    });

    it("a refused command writes nothing", () => {
      assert.equal(existsSync(path.join(scratch, "none.safetensors")), false);
    });

    it("--debug shows the stack", async () => {
      const { code, stderr } = await cli("hooks", "--model", path.join(scratch, "nowhere"), "--debug");
      assert.equal(code, 1);
      assert.match(stderr, /\n\s+at /);
    });
  });
});

function readMetadata(file: string): Record<string, string> {
  const bytes = readFileSync(file);
  const length = Number(bytes.readBigUInt64LE(0));
  return JSON.parse(bytes.subarray(8, 8 + length).toString()).__metadata__;
}
