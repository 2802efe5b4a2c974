import { strict as assert } from "node:assert";
import { readFileSync } from "node:fs";
import { cp, rm, writeFile } from "node:fs/promises";
import path from "node:path";

import type { GenerationOptions } from "../../../src/decoding/text-options.js";
import { ConfigError } from "../../../src/base/errors.js";
import { parseGenerationConfig } from "../../../src/loading/generation-config.js";
import { checkpointInfo } from "../../../src/checkpoints/info/index.js";
import { PaliGemma } from "../../../src/paligemma.js";
import { convertCheckpoint } from "../../../src/checkpoints/saving/convert.js";
import { savePretrained } from "../../../src/checkpoints/saving/save-pretrained.js";
import { fixtures } from "../../parity/reference.js";
import { inTemporaryFolder } from "../../support/temporary.js";
import { tinyFolder } from "../../support/tiny.js";

type Json = Record<string, unknown>;
/**
 * What a folder says: its generation_config.json (null: none), and what is added to config.json and to its text_config.
 */
type Said = { file: Json | null; config?: Json; text?: Json };
type Case = Said & { model: string; case: string; call: Json; tokens: number[] };

const { cases, reference } = JSON.parse(readFileSync(path.join(fixtures, "generation_configs.json"), "utf8")) as {
  cases: Case[];
  reference: string;
};

/** Options of a call by their names in transformers. */
const NAMES: Record<string, keyof GenerationOptions> = {
  max_new_tokens: "maxNewTokens",
  min_new_tokens: "minNewTokens",
  repetition_penalty: "repetitionPenalty",
  num_beams: "numBeams",
  length_penalty: "lengthPenalty",
  bad_words_ids: "badWords",
};
const optionsOf = (call: Json): GenerationOptions =>
  Object.fromEntries(Object.entries(call).map(([name, value]) => [NAMES[name]!, value]));

const question = (model: string) => ({
  image: path.join(fixtures, "references", model, reference, "picture-11.png"),
  prompt: "caption en",
});

/** Runs `body` with a copy of a tiny model that says this. */
const withFile = <T>(model: string, said: Said, body: (folder: string) => Promise<T>): Promise<T> =>
  inTemporaryFolder(async (scratch) => {
    const folder = path.join(scratch, model);
    await cp(tinyFolder(model), folder, { recursive: true });
    const place = path.join(folder, "generation_config.json");
    await rm(place, { force: true });
    if (said.file !== null) await writeFile(place, JSON.stringify(said.file));
    const configFile = path.join(folder, "config.json");
    const config = JSON.parse(readFileSync(configFile, "utf8")) as Json & { text_config: Json };
    const changed = { ...config, ...said.config, text_config: { ...config.text_config, ...said.text } };
    await writeFile(configFile, JSON.stringify(changed));
    return body(folder);
  });

async function loaded<T>(model: string, said: Said, body: (model: PaliGemma) => Promise<T>): Promise<T> {
  return withFile(model, said, async (folder) => {
    const one = await PaliGemma.load(folder, { backend: "wasm", settings: { products: "exact" } });
    try {
      return await body(one);
    } finally {
      one.dispose();
    }
  });
}

describe("generation_config.json", () => {
  for (const { model, case: title, call, tokens, ...said } of cases) {
    it(`${model}, ${title}: the tokens of transformers`, () =>
      loaded(model, said, async (one) => {
        const answer = await one.generate(question(model), optionsOf(call));
        assert.deepEqual(answer.tokens, tokens);
      }));
  }

  const greedy = cases.find(({ model, case: title }) => model === "tiny-pg2" && title === "no file")!.tokens;
  const few = { eos_token_id: 1, max_new_tokens: 6 };

  it("holds in every call that decodes: batches, streams, captures, files of questions", () =>
    loaded("tiny-pg2", { file: { ...few, eos_token_id: greedy[3] } }, async (model) => {
      const asked = question("tiny-pg2");
      const expected = greedy.slice(0, greedy.indexOf(greedy[3]) + 1);
      const [first, second] = await model.generateBatch([asked, asked]);
      assert.deepEqual([first!.tokens, second!.tokens], [expected, expected]);
      const streamed: number[] = [];
      for await (const { token } of model.stream(asked)) streamed.push(token);
      const captured: number[] = [];
      for await (const { token, cache } of model.generateWithCache(asked, {
        capture: { hooks: "language.ln_final.hook_out" },
      })) {
        captured.push(token);
        cache.dispose();
      }
      assert.deepEqual([streamed, captured], [expected, expected]);
      assert.equal((await model.batcher().generate(asked)).tokens.length, expected.length);
    }));

  it("samples where it says so, among as many as transformers would, and not where the call's temperature is 0", () =>
    loaded("tiny-pg2", { file: { ...few, do_sample: true, temperature: 50 } }, async (model) => {
      const asked = question("tiny-pg2");
      const answers = new Set<string>();
      for (let seed = 0; seed < 5; seed++) answers.add(String((await model.generate(asked, { seed })).tokens));
      assert.ok(answers.size > 3, `${answers.size} different answers`);
      assert.deepEqual((await model.generate(asked, { temperature: 0 })).tokens, greedy.slice(0, 6));
      assert.deepEqual(model.inForce({ seed: 1 }), { maxNewTokens: 6, temperature: 50, topK: 50, seed: 1 });
      assert.deepEqual(model.inForce({ topK: 3 }), { maxNewTokens: 6, temperature: 50, topK: 3 });
    }));

  it("of sampling counts in a call that samples, and beams in one that streams are refused", () =>
    loaded("tiny-pg2", { file: { ...few, temperature: 0.25, top_p: 0.5, num_beams: 2 } }, async (model) => {
      assert.deepEqual(model.inForce({}), {
        maxNewTokens: 6,
        numBeams: 2,
        numReturnSequences: 1,
      });
      assert.deepEqual(model.inForce<GenerationOptions>({ topK: 4, numBeams: 1 }).temperature, 0.25);
      await assert.rejects(
        model.stream(question("tiny-pg2")).next(),
        /numBeams, bestOf: expected 1 where tokens are shown/,
      );
      assert.equal((await model.stream(question("tiny-pg2"), { numBeams: 1 }).next()).done, false);
    }));

  it("is told by info, carried by convert and by savePretrained, and counts there", () =>
    withFile("tiny-pg2", { file: { ...few, eos_token_id: [greedy[2]], repetition_penalty: 1.25 } }, async (folder) => {
      const told = { eosTokenIds: [greedy[2]], doSample: false, options: { maxNewTokens: 6, repetitionPenalty: 1.25 } };
      const { generation, files } = await checkpointInfo(folder);
      assert.deepEqual(generation, { ...told, sampling: {}, unsupportedSampling: [] });
      assert.ok(files.found.includes("generation_config.json"));
      const [converted, saved] = [path.join(folder, "converted"), path.join(folder, "saved")];
      await convertCheckpoint(folder, converted);
      const model = await PaliGemma.load(folder, { backend: "wasm" });
      await savePretrained(model, saved);
      const { tokens } = await model.generate(question("tiny-pg2"));
      model.dispose();
      for (const place of [converted, saved]) {
        const again = await PaliGemma.load(place, { backend: "wasm" });
        assert.deepEqual((await again.generate(question("tiny-pg2"))).tokens, tokens);
        again.dispose();
      }
    }));

  it("that cannot be followed is told by info, and refused by load", () =>
    withFile("tiny-pg2", { file: { guidance_scale: 0.5 } }, async (folder) => {
      const { generation } = await checkpointInfo(folder);
      assert.match((generation as { error: string }).error, /guidance_scale: changes answers and is not supported/);
      await assert.rejects(PaliGemma.load(folder, { backend: "wasm" }), ConfigError);
    }));

  it("with a word about sampling that is not supported is refused by calls that sample, and by no others", () =>
    loaded("tiny-pg2", { file: { ...few, min_p: 0.1 } }, async (model) => {
      const asked = question("tiny-pg2");
      assert.deepEqual((await model.generate(asked)).tokens, greedy.slice(0, 6));
      assert.deepEqual((await model.generate(asked, { temperature: 0, topK: 5 })).tokens, greedy.slice(0, 6));
      const message = /generation_config\.json\.min_p: changes what is drawn and is not supported; take it out/;
      await assert.rejects(model.generate(asked, { temperature: 0.5 }), message);
      await assert.rejects(model.generateBatch([asked], { topP: 0.5 }), message);
      await assert.rejects(model.stream(asked, { topK: 2 }).next(), message);
    }));

  it("beside it, config.json's own words about generation are checked where they count", async () => {
    const wrong = { num_beams: "3" };
    await withFile("tiny-pg2", { file: null, config: wrong }, (folder) =>
      assert.rejects(PaliGemma.load(folder, { backend: "wasm" }), /config\.json\.num_beams: expected a number/),
    );
    await withFile("tiny-pg2", { file: null, text: { guidance_scale: 3 } }, (folder) =>
      assert.rejects(PaliGemma.load(folder, { backend: "wasm" }), /config\.json\.guidance_scale: changes answers/),
    );
    await loaded("tiny-pg2", { file: few, config: wrong }, async (model) => {
      assert.equal((await model.generate(question("tiny-pg2"))).tokens.length, 6);
    });
  });

  const V = 300;
  for (const [what, file, message] of [
    ["an end outside the vocabulary", { eos_token_id: [1, 300] }, /eos_token_id: expected an id below 300, or a list/],
    ["an end that is none", { eos_token_id: -1 }, /eos_token_id/],
    ["no end", { eos_token_id: [] }, /eos_token_id/],
    ["a limit that is text", { max_new_tokens: "64" }, /max_new_tokens: expected a number, received "64"/],
    ["no tokens", { max_new_tokens: 0 }, /max_new_tokens/],
    ["a switch that is text", { do_sample: "no" }, /do_sample: expected true or false/],
    ["a share above 1", { top_p: 1.5 }, /top_p/],
    ["a temperature of 0 in sampling", { do_sample: true, temperature: 0 }, /temperature/],
    ["more answers than beams", { num_return_sequences: 2 }, /num_return_sequences: expected at most num_beams, 1/],
    ["drawn beams", { num_beams: 2, do_sample: true }, /do_sample: expected false beside num_beams/],
    ["bad words that are no lists", { bad_words_ids: [5] }, /bad_words_ids: expected a list of lists of ids/],
    ["a stop that is empty", { stop_strings: "" }, /stop_strings/],
    ["early stopping of another kind", { num_beams: 2, early_stopping: "soon" }, /early_stopping/],
    ["no object", [], /expected an object/],
    ...["guidance_scale", "sequence_bias", "max_time", "penalty_alpha", "num_beam_groups"].map(
      (field) => [field, { [field]: 0.5 }, new RegExp(`${field}: changes answers and is not supported`)] as const,
    ),
    ...["min_p", "top_h", "typical_p", "epsilon_cutoff", "eta_cutoff"].map(
      (field) => [field, { do_sample: true, [field]: 0.5 }, new RegExp(`${field}: changes answers`)] as const,
    ),
  ] as const) {
    it(`with ${what} is refused, naming the field`, () => {
      assert.throws(
        () => parseGenerationConfig(file, V, "folder/generation_config.json"),
        (error) => error instanceof ConfigError && message.test(error.message) && error.message.startsWith("folder/"),
      );
    });
  }
});
