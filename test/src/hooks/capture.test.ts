import assert from "node:assert/strict";
import path from "node:path";

import * as tf from "@tensorflow/tfjs";

import type { PaliGemmaConfig } from "../../../src/model/config.js";
import { InputError } from "../../../src/base/errors.js";
import { hookCatalogue } from "../../../src/model/hook-catalogue.js";
import { decodeAndKeep } from "../../../src/decoding/captured-generation.js";
import { bytesNeeded } from "../../../src/hooks/memory-needed.js";
import type { Positions } from "../../../src/hooks/positions.js";
import { type RunRequest, runAndKeep } from "../../../src/hooks/run.js";
import type { PaliGemmaModel } from "../../../src/model/model.js";
import { fixtures, modelInputs, readReference } from "../../parity/reference.js";
import { counts, leakFree, onEachBackend } from "../../support/backends.js";
import { tinyNetwork } from "../../support/tiny.js";

/** The largest difference between two lists of numbers. */
const apart = (a: ArrayLike<number>, b: ArrayLike<number>): number => {
  assert.equal(a.length, b.length);
  return Array.from(a).reduce((most, value, i) => Math.max(most, Math.abs(value - b[i])), 0);
};

describe("memory that a capture needs", () => {
  // PaliGemma 2 3B at 448 pixels, with sixteen text positions: sizes of the published config.
  const config = {
    vision: {
      hiddenSize: 1152,
      intermediateSize: 4304,
      numAttentionHeads: 16,
      numHiddenLayers: 27,
      imageSize: 448,
      patchSize: 14,
    },
    text: {
      hiddenSize: 2304,
      intermediateSize: 9216,
      headDim: 256,
      numAttentionHeads: 8,
      numKeyValueHeads: 4,
      numHiddenLayers: 26,
      vocabSize: 257216,
      postNorms: true,
    },
  } as unknown as PaliGemmaConfig;
  const [P, T] = [1024, 1040];
  const segments = [
    [
      { name: "image", start: 0, end: P },
      { name: "prefix", start: P, end: T },
    ],
  ] as const;
  const pass = {
    step: 0,
    from: 0,
    to: T,
    prompt: T,
    lastRowOnly: false,
    segments: segments.map((row) => [...row]),
    texts: [Array.from({ length: 16 }, (_, i) => P + i)],
  };
  const needed = (hook: RegExp, part: { positions?: Positions; keys?: Positions }) =>
    hookCatalogue(config)
      .filter(({ name }) => hook.test(name))
      .reduce((sum, point) => sum + bytesNeeded(point, part, pass, 1), 0);

  it("of one query's attention in all layers and heads of the decoder at 448 pixels is below 1 MB", () => {
    assert.equal(needed(/^language.*hook_pattern$/, { positions: "last" }), 26 * 8 * T * 4);
    assert.ok(needed(/^language.*hook_pattern$/, { positions: "last" }) < 1e6);
    assert.equal(needed(/^language.*hook_pattern$/, { positions: "last", keys: "image" }), 26 * 8 * P * 4);
  });
  it("of whole patterns and streams is what the shapes say", () => {
    assert.equal(needed(/^language.*hook_pattern$/, {}), 26 * 8 * T * T * 4);
    assert.equal(needed(/^vision.*hook_pattern$/, {}), 27 * 16 * P * P * 4);
    assert.equal(needed(/^language.*hook_resid_post$/, { positions: ["image", -1] }), 26 * (P + 1) * 2304 * 4);
  });
});

onEachBackend("keeping activations", () => {
  for (const [name, kase] of [
    ["tiny-pg1", "suffix"],
    ["tiny-pg2", "padded"],
  ]) {
    describe(`${name}, ${kase}`, () => {
      let model: PaliGemmaModel;
      let inputs: ReturnType<typeof modelInputs>;
      before(async () => {
        model = await tinyNetwork(name);
        inputs = modelInputs(await readReference(path.join(fixtures, "references", name, kase)));
        tf.tidy(() => void model.forward(inputs)); // makes the copies that wasm keeps of matrices
      });
      after(() => {
        inputs.pixelValues.dispose();
        model.dispose();
      });
      const keep = (request: RunRequest) => runAndKeep(model, inputs, request);

      leakFree("a part is the whole cut afterwards, at every name", async () => {
        // The text of rows that are padded differently lies one after another, where one row's positions mean nothing.
        const hooks = (hook: string) => hook !== "language.hook_embed" || kase !== "padded";
        const whole = await keep({ hooks });
        const part = await keep({ hooks, positions: [1, "-3:", 5], keys: "image" });
        const [T, S] = [inputs.inputIds[0].length, inputs.inputIds[0].length];
        const patches = hookCatalogue(model.config)[0].shape[1] as number;
        const texts = inputs.inputIds[0].flatMap((id, i) => (id === model.config.imageTokenId ? [] : [i]));
        const imageKeys = inputs.inputIds.map((row) =>
          row.flatMap((id, i) => (id === model.config.imageTokenId ? [i] : [])),
        );
        for (const { name: hook, axes } of hookCatalogue(model.config)) {
          if (!hooks(hook)) continue;
          const expected = tf.tidy(() => {
            let x = whole.cache.get(hook);
            const query = axes.findIndex((letter) => ["T", "P", "T_text"].includes(letter));
            const length = { T, P: patches, T_text: texts.length }[axes[query] as "T"]!;
            let at = [1, 5, length - 3, length - 2, length - 1];
            if (axes[query] === "T_text")
              at = [1, 5, T - 3, T - 2, T - 1].map((i) => texts.indexOf(i)).filter((i) => i >= 0);
            if (axes[0] !== "1")
              x = tf.gather(
                x,
                [...new Set(at)].sort((a, b) => a - b),
                query,
              );
            if (axes.at(-1) === "S")
              x = tf.concat(tf.split(x, x.shape[0]).map((row, b) => tf.gather(row, imageKeys[b], 3)));
            if (axes.filter((letter) => letter === "P").length === 2)
              x = tf.gather(
                x,
                Array.from({ length: patches }, (_, i) => i),
                3,
              );
            return x.dataSync();
          });
          assert.deepEqual(part.cache.get(hook).dataSync(), expected, hook);
        }
        assert.equal(S, T);
        for (const run of [whole, part]) {
          run.cache.dispose();
          run.logits!.dispose();
        }
      });

      leakFree("a run that stops behind what is needed has shown the same, and nothing later", async () => {
        const hooks = ["language.blocks.0.hook_resid_post", "vision.blocks.1.attn.hook_z"];
        const [whole, stopped] = [await keep({ hooks }), await keep({ hooks, stopAt: "needed" })];
        assert.equal(stopped.logits, null);
        for (const hook of hooks)
          assert.deepEqual(stopped.cache.get(hook).dataSync(), whole.cache.get(hook).dataSync());
        const early = await keep({ hooks: "{vision,language}.blocks.1.attn.hook_z", stopAt: "projector.hook_out" });
        assert.deepEqual(early.cache.names, [hooks[1]]);
        const shown: string[] = [];
        const spy = await keep({ hooks, stopAt: hooks[0], edits: [["**", (_x, { name }) => void shown.push(name)]] });
        assert.equal(shown.at(-1), hooks[0]);
        for (const run of [whole, stopped, early, spy]) {
          run.cache.dispose();
          run.logits?.dispose();
        }
      });

      leakFree("what is kept on the CPU has the same numbers, and half of them in 16 bit", async () => {
        const hooks = "language.blocks.*.hook_resid_post";
        const here = await keep({ hooks });
        const cpu = await keep({ hooks, device: "cpu" });
        const half = await keep({ hooks, dtype: "bfloat16" });
        const last = here.cache.names.at(-1)!;
        assert.deepEqual(await cpu.cache.values(last), Float32Array.from(here.cache.get(last).dataSync()));
        assert.equal(half.cache.bytes * 2, cpu.cache.bytes);
        const [a, b] = [await half.cache.values(last), await cpu.cache.values(last)];
        b.forEach((value, i) => assert.ok(Math.abs(a[i] - value) <= Math.abs(value) * 2 ** -8, `${a[i]} and ${value}`));
        assert.deepEqual(
          half.cache.get("resid_post", 1).dataSync(),
          await half.cache.values("language.blocks.1.hook_resid_post"),
        );
        for (const run of [here, cpu, half]) {
          run.cache.dispose();
          run.logits!.dispose();
        }
      });

      leakFree("more than the budget is refused before the run, with the size and what would help", async () => {
        const tensors = counts().tensors;
        let fired = 0;
        const counted = { edits: [["**", () => void fired++] as const] };
        await assert.rejects(keep({ hooks: "**.hook_pattern", budget: 1000, ...counted }), (error: Error) => {
          assert.ok(error instanceof InputError);
          assert.match(
            error.message,
            /activations would take [\d.]+ KiB, more than 1000 bytes; the largest are .*hook_pattern/,
          );
          return true;
        });
        assert.equal(fired, 0);
        assert.equal(counts().tensors, tensors);
        const run = await keep({ hooks: "language.**.hook_pattern", positions: "last", budget: 10_000 });
        assert.ok(run.cache.bytes <= 10_000);
        run.cache.dispose();
        run.logits!.dispose();
      });

      leakFree("requests that mean nothing are errors, and free what they had", async () => {
        for (const request of [
          { hooks: "language.blocks.0.hook_resid_pre", keys: "image" },
          { hooks: "vision.blocks.0.hook_resid_pre", positions: "last" },
          { hooks: "**", positions: 999 },
          { hooks: "**", stopAt: "nowhere" },
          { hooks: "**", dtype: "bfloat16", device: "backend" },
        ] as RunRequest[]) {
          await assert.rejects(keep(request), InputError, JSON.stringify(request));
        }
      });
    });
  }

  leakFree(
    "positions are counted through a whole answer: each pass keeps its own of them, and knows which",
    async () => {
      const model = await tinyNetwork("tiny-pg2");
      const inputs = modelInputs(await readReference(path.join(fixtures, "references", "tiny-pg2", "prompt")));
      const T = inputs.inputIds[0].length;
      const hooks = [
        "language.blocks.2.hook_resid_post",
        "language.ln_final.hook_out",
        "language.blocks.1.attn.hook_pattern",
      ];
      const request = { hooks, positions: [3, "last", "generated"], keys: [0, "generated"] };
      const whole: Float32Array[] = [];
      for await (const { cache } of decodeAndKeep(model, inputs, { maxNewTokens: 4 }, { hooks })) {
        whole.push(await cache.values(hooks[0]));
        cache.dispose();
      }
      const D = model.config.text.hiddenSize;
      for await (const { step, cache } of decodeAndKeep(model, inputs, { maxNewTokens: 4 }, request)) {
        const at = step === 0 ? [3, T - 1] : [T + step - 1];
        assert.deepEqual(cache.describe(hooks[0]).positions, [at], `step ${step}`);
        assert.deepEqual(cache.describe(hooks[1]).positions, [[at.at(-1)!]]);
        assert.deepEqual(cache.get(hooks[1]).shape, [1, 1, D]);
        assert.deepEqual(cache.describe(hooks[2]).keys, [[0, ...Array.from({ length: step }, (_, i) => T + i)]]);
        const rows = at.flatMap((one) =>
          Array.from(whole[step].subarray(...(step === 0 ? [one * D, (one + 1) * D] : [0, D]))),
        );
        assert.deepEqual(Array.from(await cache.values(hooks[0])), rows);
        cache.dispose();
      }
      inputs.pixelValues.dispose();
      model.dispose();
    },
  );

  for (const name of ["tiny-pg1", "tiny-pg2"]) {
    leakFree(`what ${name} shows while it generates is what one pass over everything shows`, async () => {
      const model = await tinyNetwork(name);
      const inputs = modelInputs(await readReference(path.join(fixtures, "references", name, "prompt")));
      const hooks = [
        "language.blocks.*.{hook_resid_post,attn.hook_pattern,attn.hook_rot_k}",
        "language.unembed.hook_out",
      ];
      const pieces = [];
      for await (const piece of decodeAndKeep(model, inputs, { maxNewTokens: 12 }, { hooks })) pieces.push(piece);
      assert.ok(pieces.length > 9, "longer than the window of the local layers");
      const answer = pieces.slice(0, -1).map(({ token }) => token);
      const prompt = inputs.inputIds[0];
      const again = { ...inputs, inputIds: [[...prompt, ...answer]], attentionMask: undefined, positionIds: undefined };
      const types = [[...prompt.map(() => 0), ...answer.map(() => 1)]];
      const { pixelValues, inputIds } = again;
      const full = await runAndKeep(model, { pixelValues, inputIds, tokenTypeIds: types }, { hooks });
      for (const { step, cache, logProbability, token } of pieces) {
        for (const hook of cache.names.filter((one) => step > 0 || one !== "language.unembed.hook_out")) {
          const seen = cache.get(hook);
          const expected = tf.tidy(() => {
            const from = step === 0 ? 0 : prompt.length + step - 1;
            const to = prompt.length + step;
            const whole = full.cache.get(hook);
            const [axis, keys] = hook.endsWith("pattern") ? [2, to] : [1, null];
            const rows = tf.gather(
              whole,
              Array.from({ length: to - from }, (_, i) => from + i),
              axis,
            );
            return (
              keys === null
                ? rows
                : tf.gather(
                    rows,
                    Array.from({ length: keys }, (_, i) => i),
                    3,
                  )
            ).dataSync();
          });
          assert.ok(apart(seen.dataSync(), expected) < 1e-4, `${hook} at step ${step}`);
        }
        const logits = full.cache.get("language.unembed.hook_out").slice([0, prompt.length + step - 1, 0], [1, 1, -1]);
        const expected = tf.tidy(() => logits.flatten().logSoftmax().dataSync()[token]);
        assert.ok(Math.abs(expected - logProbability) < 1e-4, `step ${step}: ${logProbability}, expected ${expected}`);
        logits.dispose();
        cache.dispose();
      }
      full.cache.dispose();
      full.logits!.dispose();
      inputs.pixelValues.dispose();
      model.dispose();
    });
  }
});
