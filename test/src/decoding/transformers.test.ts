import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import path from "node:path";

import * as tf from "@tensorflow/tfjs";

import { type Decoded, decodeAnswers } from "../../../src/decoding/answers.js";
import type { BeamOptions } from "../../../src/decoding/beam-row.js";
import type { DecodingOptions } from "../../../src/decoding/options.js";
import type { ModelInputs } from "../../../src/model/inputs.js";
import type { PaliGemmaModel } from "../../../src/model/model.js";
import { fixtures, modelInputs, readReference } from "../../parity/reference.js";
import { EXACT } from "../../parity/run.js";
import { counts, onEachBackend } from "../../support/backends.js";
import { tinyNetwork } from "../../support/tiny.js";

/** Options in transformers' words. */
type Options = {
  eos_token_id: number[];
  num_beams?: number;
  num_return_sequences?: number;
  length_penalty?: number;
  early_stopping?: boolean | "never";
  repetition_penalty?: number;
  bad_words_ids?: number[][];
  allowed?: number[];
};
type Case = {
  model: string;
  reference: string;
  case: string;
  options: Options;
  /** Of each prompt, best first. */
  answers: number[][][];
  scores?: number[][];
};

const { cases, new_tokens: maxNewTokens } = JSON.parse(readFileSync(path.join(fixtures, "decoding.json"), "utf8")) as {
  cases: Case[];
  new_tokens: number;
};

const optionsOf = (options: Options): DecodingOptions & BeamOptions => ({
  maxNewTokens,
  numBeams: options.num_beams,
  lengthPenalty: options.length_penalty,
  earlyStopping: options.early_stopping,
  repetitionPenalty: options.repetition_penalty,
  badWords: options.bad_words_ids,
  allowedTokens: options.allowed,
});

/** A model that ends answers with other ids. It shares every weight. */
const endingWith = (model: PaliGemmaModel, eosTokenIds: number[]): PaliGemmaModel =>
  Object.create(model, { config: { value: { ...model.config, eosTokenIds } } }) as PaliGemmaModel;

onEachBackend("decoding as transformers", () => {
  for (const suite of [...new Set(cases.map(({ model, reference }) => `${model}/${reference}`))]) {
    describe(suite, () => {
      const [name, run] = suite.split("/");
      let model: PaliGemmaModel;
      let inputs: ModelInputs;
      before(async () => {
        model = await tinyNetwork(name, { settings: EXACT });
        const given = modelInputs(await readReference(path.join(fixtures, "references", name, run)));
        inputs = { ...given, positionIds: undefined }; // counted, as generate counts them
        tf.tidy(() => void model.forward(inputs)); // some backends make tables at their first pass
      });
      after(() => {
        inputs.pixelValues!.dispose();
        model.dispose();
      });
      for (const one of cases.filter(({ model, reference }) => `${model}/${reference}` === suite)) {
        it(`${one.case}: the same answers, with the same scores`, async () => {
          const before = counts();
          const { options } = one;
          const ending = endingWith(model, options.eos_token_id);
          const answers = await decodeAnswers(ending, inputs, optionsOf(options));
          const wanted = options.num_return_sequences ?? 1;
          const tokens = ({ ranked, tokens }: Decoded) =>
            ranked?.slice(0, wanted).map((answer) => answer.tokens) ?? [tokens];
          assert.deepEqual(answers.map(tokens), one.answers);
          one.scores?.forEach((scores, row) =>
            scores.forEach((score, i) => {
              const error = Math.abs(answers[row].ranked![i].score - score);
              assert.ok(error <= 1e-5 * Math.max(1, Math.abs(score)), `score ${i} of row ${row} is ${error} off`);
            }),
          );
          assert.deepEqual(counts(), before);
        });
      }
    });
  }
});
