import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import path from "node:path";

import * as tf from "@tensorflow/tfjs";

import { InputError } from "../../../src/base/errors.js";
import { decode } from "../../../src/decoding/decode.js";
import { hookCatalogue } from "../../../src/model/hook-catalogue.js";
import type { Edit } from "../../../src/hooks/edit.js";
import type { Intervention } from "../../../src/hooks/edit-tap.js";
import { editedForward, runAndKeep } from "../../../src/hooks/run.js";
import type { ModelInputs } from "../../../src/model/inputs.js";
import type { PaliGemmaModel } from "../../../src/model/model.js";
import { EXACT } from "../../parity/run.js";
import { fixtures, modelInputs, readReference, readTensors } from "../../parity/reference.js";
import { leakFree, LONG, onEachBackend } from "../../support/backends.js";
import { tinyNetwork } from "../../support/tiny.js";

const MODELS = ["tiny-pg1", "tiny-pg2"];

function apart(a: ArrayLike<number>, b: ArrayLike<number>): number {
  assert.equal(a.length, b.length);
  return Array.from(a).reduce((most, value, i) => Math.max(most, Math.abs(value - b[i])), 0);
}

onEachBackend("edits of activations", (backend) => {
  for (const name of MODELS) {
    const long = backend === "cpu" && name === "tiny-pg2" ? LONG : "";
    describe(name, () => {
      let model: PaliGemmaModel;
      let inputs: ModelInputs & { pixelValues: tf.Tensor };
      before(async () => {
        model = await tinyNetwork(name, { settings: EXACT });
        inputs = modelInputs(await readReference(path.join(fixtures, "references", name, "suffix")));
        tf.tidy(() => void model.forward(inputs));
      });
      after(() => {
        inputs.pixelValues.dispose();
        model.dispose();
      });

      const logitsOf = async (edits: readonly Intervention[], from: ModelInputs = inputs): Promise<Float32Array> => {
        const logits = await editedForward(model, from, edits);
        const values = logits.dataSync() as Float32Array;
        logits.dispose();
        return values;
      };

      for (const kase of ["prompt", "suffix"]) {
        const file = path.join(fixtures, "edits", name, kase);
        const { edits } = JSON.parse(readFileSync(`${file}.json`, "utf8")) as { edits: Record<string, Edit[]> };
        leakFree(
          `the same edits in transformers give the same logits (${Object.keys(edits).length}, ${kase})`,
          async () => {
            const expected = await readTensors(`${file}.safetensors`);
            const own = modelInputs(await readReference(path.join(fixtures, "references", name, kase)));
            const numbers = (key: string) => expected.get(key)!.values as Float32Array;
            const unedited = numbers("unedited");
            for (const [title, list] of Object.entries({ unedited: [], ...edits })) {
              const reference = numbers(title);
              const largest = reference.reduce((most, value) => Math.max(most, Math.abs(value)), 1);
              const error = apart(await logitsOf(list, own), reference) / largest;
              assert.ok(error < 1e-5, `${title}: ${error}`);
              if (title !== "unedited") assert.ok(apart(reference, unedited) > 1e-3, `${title} changes nothing`);
            }
            own.pixelValues.dispose();
          },
        );
      }

      leakFree("a callback that only looks, at every name, leaves the logits' bits", async () => {
        const seen = new Set<string>();
        const look: Intervention = ["**", (_value, { name: hook }) => void seen.add(hook)];
        assert.deepEqual(await logitsOf([look]), await logitsOf([]));
        assert.deepEqual(
          [...seen],
          hookCatalogue(model.config).map(({ name: hook }) => hook),
        );
      });

      leakFree("a tap is an intervention too, in its place among the others", async () => {
        const hook = "language.blocks.1.hook_mlp_out";
        const doubled = Object.assign((_name: string, value: tf.Tensor) => value.mul(2), {
          wants: (one: string) => one === hook,
        });
        const added: Edit = { hook, op: "add", value: 1 };
        assert.deepEqual(await logitsOf([doubled]), await logitsOf([{ hook, op: "scale", factor: 2 }]));
        assert.deepEqual(await logitsOf([added, doubled]), await logitsOf([added, { hook, op: "scale", factor: 2 }]));
        assert.notDeepEqual(await logitsOf([added, doubled]), await logitsOf([doubled, added]));
      });

      leakFree(`"set" with what the run has shown reproduces it, at every name${long}`, async () => {
        const run = await runAndKeep(model, inputs, { hooks: "**" });
        const logits = run.logits!.dataSync();
        for (const [hook, value] of run.cache.entries()) {
          assert.deepEqual(await logitsOf([{ hook, op: "set", value }]), logits, hook);
        }
        run.cache.dispose();
        run.logits!.dispose();
      });

      leakFree("scaling by 1 and adding 0 to a part change no bit, and `add` of the difference is `set`", async () => {
        const hook = "language.blocks.1.hook_resid_post";
        const plain = await logitsOf([]);
        assert.deepEqual(await logitsOf([{ hook, op: "scale", factor: 1, positions: "prefix" }]), plain);
        assert.deepEqual(await logitsOf([{ hook, op: "add", value: 0, positions: [3], units: [1, 5] }]), plain);
        const both = [
          { hook, op: "suppress", positions: "image" },
          { hook, op: "add", value: 2, positions: "image" },
        ] as const;
        assert.deepEqual(await logitsOf(both), await logitsOf([{ hook, op: "set", value: 2, positions: "image" }]));
      });

      leakFree("closing a key for every other query equals a mask in which it is no token", async () => {
        const key = 2; // a patch: keys before it and after it stay
        const others = inputs.inputIds[0].flatMap((_, i) => (i === key ? [] : [i]));
        const edit: Edit = { hook: "language.**.hook_attn_scores", op: "close", positions: others, keys: key };
        const closed = await logitsOf([edit]);
        const attentionMask = inputs.inputIds.map((row) => row.map((_, i) => (i === key ? 0 : 1)));
        const positionIds = inputs.positionIds ?? inputs.inputIds.map((row) => row.map((_, i) => i + 1));
        const masked = await logitsOf([], { ...inputs, attentionMask, positionIds });
        const V = model.config.text.vocabSize;
        const without = (values: Float32Array) => values.filter((_, i) => Math.floor(i / V) !== key);
        assert.deepEqual(without(closed), without(masked));
        assert.ok(apart(without(closed), without(await logitsOf([]))) > 1e-3);
      });

      leakFree("a query that would lose its last key is an error, in the layer where it would", async () => {
        const edit: Edit = {
          hook: "language.blocks.1.attn.hook_attn_scores",
          op: "close",
          positions: "last",
          keys: ":",
        };
        await assert.rejects(
          logitsOf([edit]),
          /blocks\.1\.attn\.hook_attn_scores would leave a query without an open key/,
        );
      });

      leakFree("all heads and MLPs suppressed leave unembed(norm(embed))", async () => {
        const everything: Edit[] = [
          { hook: "language.blocks.*.attn.hook_z", op: "suppress" },
          { hook: "language.blocks.*.mlp.hook_post", op: "suppress" },
        ];
        const direct: Intervention[] = [];
        const run = await runAndKeep(model, inputs, { hooks: "language.blocks.0.hook_resid_pre", stopAt: "needed" });
        const value = run.cache.get("language.blocks.0.hook_resid_pre");
        const last = model.config.text.numHiddenLayers - 1;
        direct.push({ hook: `language.blocks.${last}.hook_resid_post`, op: "set", value });
        assert.deepEqual(await logitsOf(everything), await logitsOf(direct));
        run.cache.dispose();
      });

      leakFree("an edit belongs to its run, also when that fails", async () => {
        const plain = await logitsOf([]);
        const fail: Intervention = [
          "language.blocks.1.hook_resid_pre",
          () => {
            throw new Error("on purpose");
          },
        ];
        await assert.rejects(
          logitsOf([{ hook: "language.blocks.0.hook_mlp_out", op: "suppress" }, fail]),
          /on purpose/,
        );
        assert.deepEqual(await logitsOf([]), plain);
      });

      leakFree("edits work while generating, and `steps` says in which passes", async () => {
        const prompt = modelInputs(await readReference(path.join(fixtures, "references", name, "prompt")));
        const answer = async (edits: Edit[]) => {
          const tokens: number[] = [];
          for await (const step of decode(model, prompt, { maxNewTokens: 6, edits })) tokens.push(step.tokens[0]);
          return tokens;
        };
        const V = model.config.text.vocabSize;
        // A logit that nothing beats, at the steps named: the token is then that one.
        const want = (id: number, steps?: Edit["steps"]): Edit[] => [
          { hook: "language.unembed.hook_out", op: "add", value: 1e4, units: [id], positions: "last", steps },
        ];
        const plain = await answer([]);
        const id = Array.from({ length: V }, (_, i) => i).find((i) => i > 10 && !plain.includes(i))!;
        assert.deepEqual(await answer(want(id)), [id, id, id, id, id, id]);
        const third = await answer(want(id, 2));
        assert.deepEqual(third.slice(0, 3), [...plain.slice(0, 2), id]);
        assert.notEqual(third[3], id);
        assert.deepEqual(
          (await answer(want(id, "4:"))).map((token) => token === id),
          [false, false, false, false, true, true],
        );
        const generated: Edit[] = [{ ...want(id)[0], positions: "generated" }];
        assert.deepEqual(
          (await answer(generated)).map((token) => token === id),
          [false, true, true, true, true, true],
        );
        prompt.pixelValues.dispose();
      });

      for (const [what, wrong] of Object.entries({
        "an unknown key": { hook: "language.hook_embed", op: "suppress", head: 3 },
        "an unknown operation": { hook: "language.hook_embed", op: "zero" },
        "an unknown name": { hook: "language.hook_embeds", op: "suppress" },
        "a missing factor": { hook: "language.hook_embed", op: "scale" },
        "a factor that is no number": { hook: "language.hook_embed", op: "scale", factor: NaN },
        "a value for suppress": { hook: "language.hook_embed", op: "suppress", value: 1 },
        "a head that there is not": { hook: "language.blocks.0.attn.hook_z", op: "suppress", heads: [4] },
        "heads of a stream": { hook: "language.blocks.0.hook_resid_pre", op: "suppress", heads: [0] },
        "keys of a stream": { hook: "language.blocks.0.hook_resid_pre", op: "suppress", keys: "image" },
        "units of a pattern": { hook: "language.blocks.0.attn.hook_pattern", op: "suppress", units: [0] },
        "cells to close elsewhere": { hook: "language.blocks.0.attn.hook_pattern", op: "close" },
        "a value of another size": { hook: "language.hook_embed", op: "set", value: [1, 2, 3] },
        "a ragged value": { hook: "language.hook_embed", op: "set", value: [[1, 2], [3]] },
        "a value that is no number": { hook: "language.hook_embed", op: "set", value: "one" },
        "steps that are none": { hook: "language.hook_embed", op: "suppress", steps: "last" },
        "text among patches": { hook: "vision.blocks.0.hook_mlp_out", op: "suppress", positions: "prefix" },
        "a list": [1],
        nothing: null,
      })) {
        leakFree(`${what} is an error`, async () => {
          await assert.rejects((async () => logitsOf([wrong as never]))(), InputError);
        });
      }
    });
  }
});
