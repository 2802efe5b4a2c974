import assert from "node:assert/strict";
import path from "node:path";

import * as tf from "@tensorflow/tfjs";

import { InputError } from "../../../src/base/errors.js";
import { attentionRows, meanRow } from "../../../src/inspection/attention.js";
import { directLogitAttribution, residualDecomposition } from "../../../src/inspection/attribution.js";
import {
  attributionPatching,
  gradientMap,
  gradientsOf,
  integratedGradients,
} from "../../../src/inspection/gradients.js";
import { ablateHeads, ablateNeurons, knockOut, meanActivations } from "../../../src/inspection/interventions.js";
import { logitLens } from "../../../src/inspection/lens.js";
import { logitDifference, logProbability, measure } from "../../../src/inspection/metric.js";
import { activationPatching } from "../../../src/inspection/patching.js";
import type { ModelInputs } from "../../../src/model/inputs.js";
import { PaliGemma } from "../../../src/paligemma.js";
import { EXACT } from "../../parity/run.js";
import { fixtures, modelInputs, readReference } from "../../parity/reference.js";
import { leakFree, onEachBackend } from "../../support/backends.js";
import { tinyFolder } from "../../support/tiny.js";

onEachBackend("methods of inspection", (backend) => {
  for (const name of ["tiny-pg1", "tiny-pg2"]) {
    describe(name, () => {
      let model: PaliGemma;
      let inputs: ModelInputs & { pixelValues: tf.Tensor };
      let other: ModelInputs;
      let T: number;
      before(async () => {
        model = await PaliGemma.load(tinyFolder(name), { backend, settings: EXACT });
        inputs = modelInputs(await readReference(path.join(fixtures, "references", name, "suffix")));
        T = inputs.inputIds[0].length;
        other = {
          ...inputs,
          inputIds: [inputs.inputIds[0].map((id, i) => (i === T - 14 ? 61 : i === T - 3 ? 70 : id))],
        };
        (await model.forward(inputs)).dispose();
      });
      after(() => {
        inputs.pixelValues.dispose();
        model.dispose();
      });
      const lastLogits = async (from: ModelInputs = inputs) => {
        const logits = await model.forward(from);
        const row = tf.tidy(() => Array.from(logits.slice([0, T - 1, 0], [1, 1, -1]).dataSync()));
        logits.dispose();
        return row;
      };

      leakFree(
        "the lens behind the last block is the answer, and its statistics are those of the probabilities",
        async () => {
          const cells = await logitLens(model, inputs, { positions: ["last", 2], topK: 4 });
          const layers = model.config.text.numHiddenLayers;
          assert.deepEqual(
            cells.map(({ layer, position }) => [layer, position]),
            Array.from({ length: layers }, (_, i) => [
              [i, 2],
              [i, T - 1],
            ]).flat(),
          );
          const last = cells.at(-1)!;
          const logits = await lastLogits();
          const order = Array.from(logits.keys()).sort((a, b) => logits[b] - logits[a]);
          assert.deepEqual(
            last.top.map(({ id }) => id),
            order.slice(0, 4),
          );
          assert.equal(last.finalRank, 1);
          assert.ok(last.klToFinal < 1e-6 && Math.abs(last.finalProbability - last.top[0].probability) < 1e-6);
          const peak = logits[order[0]];
          const total = logits.reduce((sum, value) => sum + Math.exp(value - peak), 0);
          const entropy = -logits.reduce(
            (sum, value) => sum + (Math.exp(value - peak) / total) * (value - peak - Math.log(total)),
            0,
          );
          assert.ok(Math.abs(last.entropy - entropy) < 1e-3, `${last.entropy}, expected ${entropy}`);
          assert.ok(
            cells.some(({ finalRank, klToFinal }) => finalRank > 1 && klToFinal > 1e-3),
            "earlier blocks differ",
          );
        },
      );

      leakFree("an earlier block's lens is the answer of a run whose later blocks add nothing", async () => {
        const [cell] = await logitLens(model, inputs, { layers: [0], topK: 3 });
        const skip = await model.runWithHooks(inputs, [
          {
            hook: `language.blocks.{${Array.from({ length: model.config.text.numHiddenLayers - 1 }, (_, i) => i + 1).join(",")}}.{hook_attn_out,hook_mlp_out}`,
            op: "suppress",
          },
        ]);
        const best = tf.tidy(
          () =>
            skip
              .slice([0, T - 1, 0], [1, 1, -1])
              .flatten()
              .argMax()
              .dataSync()[0],
        );
        assert.equal(cell.top[0].id, best);
        skip.dispose();
      });

      leakFree(
        "the vision tower's last block, read through the projector, is what the image rows embed as",
        async () => {
          const layers = model.config.vision.numHiddenLayers;
          const cells = await logitLens(model, inputs, {
            tower: "vision",
            layers: [layers - 1],
            positions: [0, 5],
            topK: 2,
          });
          assert.ok(cells.every(({ extrapolated }) => extrapolated));
          const rows = model.network.encodeImages(inputs.pixelValues);
          const best = tf.tidy(() => model.network.language.logitsOf(rows).argMax(-1).dataSync());
          assert.deepEqual(
            cells.map(({ top }) => top[0].id),
            [best[0], best[5]],
          );
          rows.dispose();
        },
      );

      leakFree("the residual stream is the sum of its components, at any position", async () => {
        for (const positions of ["last", 3] as const) {
          const { components, rows, stream, scale, position } = await residualDecomposition(model, inputs, {
            positions,
            heads: true,
          });
          assert.equal(position, positions === 3 ? 3 : T - 1);
          const error = tf.tidy(() => {
            const counted = components.flatMap(({ kind }, i) => (kind === "head" ? [] : [i]));
            return tf.gather(rows, counted).sum(0, true).sub(stream).abs().max().dataSync()[0];
          });
          assert.ok(error < 1e-4, `${error}`);
          tf.dispose([rows, stream, scale]);
        }
      });

      leakFree("shares of the components sum to the logits, and those of heads to their block's", async () => {
        const logits = await lastLogits();
        const tokens = [7, 63, 200];
        const found = await directLogitAttribution(model, inputs, { tokens, heads: true });
        assert.equal(found.position, T - 1);
        tokens.forEach((id, i) => {
          assert.ok(Math.abs(found.logits[i] - logits[id]) < 1e-3, `${found.logits[i]} and ${logits[id]}`);
          assert.ok(Math.abs(found.sums[i] - found.logits[i]) < 1e-3, `${found.sums[i]} and ${found.logits[i]}`);
        });
        for (const { kind, layer, shares } of found.components.filter(({ kind }) => kind === "attn")) {
          const heads = found.components.filter((one) => one.kind === "head" && one.layer === layer);
          assert.equal(heads.length, model.config.text.numAttentionHeads);
          tokens.forEach((_, i) => {
            const sum = heads.reduce((total, head) => total + head.shares[i], 0);
            assert.ok(Math.abs(sum - shares[i]) < 1e-3, `${kind} ${layer}: ${sum} and ${shares[i]}`);
          });
        }
        await assert.rejects(directLogitAttribution(model, inputs, { tokens: [] }), InputError);
        await assert.rejects(directLogitAttribution(model, inputs, { tokens: [1], positions: "image" }), InputError);
      });

      leakFree("patching everything gives the clean answer, patching a run with itself changes nothing", async () => {
        const metric = logitDifference(63, 7);
        const questions = { clean: inputs, corrupted: other };
        const whole = await activationPatching(model, questions, metric, {
          leaf: "hook_resid_pre",
          positions: [":", "last", "image"],
        });
        assert.ok(Math.abs(whole.clean - whole.corrupted) > 1e-3);
        for (const [all] of whole.values) assert.ok(Math.abs(all - whole.clean) < 1e-4);
        assert.ok(Math.abs(whole.values[0][1] - whole.corrupted) < 1e-4, "the last token is the same in both");
        assert.ok(Math.abs(whole.values[0][2] - whole.corrupted) < 1e-4, "and so are the image rows, on entry");
        assert.ok(Math.abs(whole.values[1][2] - whole.corrupted) > 1e-4, "but not behind the first block");
        const same = await activationPatching(model, { clean: other, corrupted: other }, metric, {
          leaf: "attn.hook_z",
          by: "head",
          layers: [1],
        });
        same.values[0].forEach((value) => assert.ok(Math.abs(value - same.corrupted) < 1e-5));
        const heads = await activationPatching(model, questions, metric, {
          leaf: "attn.hook_pattern",
          by: "head",
          layers: [0],
        });
        assert.equal(heads.values[0].length, model.config.text.numAttentionHeads);
        const short = {
          ...inputs,
          inputIds: [inputs.inputIds[0].slice(0, -1)],
          attentionMask: undefined,
          tokenTypeIds: undefined,
          positionIds: undefined,
        };
        await assert.rejects(
          activationPatching(model, { clean: short as never, corrupted: other }, metric, { leaf: "hook_resid_pre" }),
          /equal length/,
        );
        await assert.rejects(
          activationPatching(model, questions, metric, { leaf: "hook_resid_pre", by: "head" }),
          /no heads/,
        );
      });

      leakFree("gradients are what small steps measure, in both towers", async () => {
        const metric = logProbability(63);
        const hooks = [
          "vision.blocks.1.hook_resid_post",
          "projector.hook_out",
          "language.blocks.1.attn.hook_pattern",
          "language.blocks.0.hook_mlp_out",
        ];
        const { value, gradients, activations } = await gradientsOf(model, inputs, { hooks, metric });
        for (const hook of hooks) {
          const gradient = gradients.get(hook);
          const norm = tf.tidy(() => gradient.square().sum().sqrt().dataSync()[0]);
          assert.ok(norm > 1e-6, `${hook}: the gradient is zero`);
          // Along the gradient the metric rises by its norm for each unit of way.
          const step = 2e-3 / norm;
          const along = async (sign: number) => {
            const delta = tf.tidy(() => gradient.mul((sign * step) / norm));
            const logits = await model.runWithHooks(inputs, [{ hook, op: "add", value: delta }]);
            const measured = await measure(metric, logits);
            tf.dispose([delta, logits]);
            return measured;
          };
          const rise = ((await along(1)) - (await along(-1))) / (2 * step);
          assert.ok(Math.abs(rise / norm - 1) < 0.05, `${hook}: rises by ${rise}, expected ${norm}`);
        }
        const plain = await lastLogits();
        const peak = plain.reduce((most, one) => Math.max(most, one), -Infinity);
        const expected = plain[63] - peak - Math.log(plain.reduce((sum, one) => sum + Math.exp(one - peak), 0));
        assert.ok(Math.abs(value - expected) < 1e-4);
        activations.dispose();
        gradients.dispose();
      });

      leakFree(
        "attribution patching is patching to first order, and integrated gradients add up to the difference",
        async () => {
          const metric = logitDifference(63, 7);
          const last = model.config.text.numHiddenLayers - 1;
          const hook = `language.blocks.${last}.hook_mlp_out`;
          // of which this metric is a linear function: to first order is exactly
          const output = "language.unembed.hook_out";
          const exact = await attributionPatching(
            model,
            { clean: inputs, corrupted: other },
            { hooks: output, metric },
          );
          const values = [await model.forward(inputs), await model.forward(other)];
          const rise = (await measure(metric, values[0])) - (await measure(metric, values[1]));
          const attributed = Array.from(exact.get(output)!.dataSync());
          assert.ok(
            Math.abs(attributed.at(-1)! - rise) < 1e-4 && Math.abs(rise) > 1e-2,
            `${attributed.at(-1)}, expected ${rise}`,
          );
          assert.ok(attributed.slice(0, -1).every((value) => value === 0));
          tf.dispose([...exact.values(), ...values]);
          const found = await attributionPatching(model, { clean: inputs, corrupted: inputs }, { hooks: hook, metric });
          assert.deepEqual(found.get(hook)!.shape, [1, T]);
          assert.ok(
            found
              .get(hook)!
              .dataSync()
              .every((one) => one === 0),
          );
          tf.dispose([...found.values()]);
          const sum = await integratedGradients(model, inputs, { hook, metric, steps: 24 });
          const total = tf.tidy(() => sum.sum().dataSync()[0]);
          const without = await model.runWithHooks(inputs, [{ hook, op: "suppress" }]);
          const logits = await model.forward(inputs);
          const difference = (await measure(metric, logits)) - (await measure(metric, without));
          assert.ok(
            Math.abs(total - difference) < 0.02 * Math.max(1, Math.abs(difference)),
            `${total}, expected ${difference}`,
          );
          tf.dispose([sum, without, logits]);
          const map = await gradientMap(model, inputs, { metric });
          assert.deepEqual(map.shape, [1, model.config.vision.imageSize ** 2 / model.config.vision.patchSize ** 2]);
          const numbers = Array.from(map.dataSync());
          assert.ok(Math.min(...numbers) === 0 && Math.max(...numbers) > 0);
          map.dispose();
        },
      );

      leakFree(
        "attention rows are the rows of the patterns, by query, layer and head, and their mean is theirs",
        async () => {
          const prompt = modelInputs(await readReference(path.join(fixtures, "references", name, "prompt")));
          const found = await attentionRows(model, prompt, { queries: [2, "last"], generate: true, maxNewTokens: 3 });
          const P = prompt.inputIds[0].length;
          assert.deepEqual(found.queries, [2, P - 1, P, P + 1]);
          assert.deepEqual([found.layers, found.heads, found.keys], [model.config.text.numHiddenLayers, 4, P + 2]);
          const run = await model.runWithCache(prompt, {
            hooks: "language.blocks.*.attn.hook_pattern",
            stopAt: "needed",
          });
          for (let layer = 0; layer < found.layers; layer++) {
            const pattern = (await run.cache.get("pattern", layer).array()) as number[][][][];
            for (let head = 0; head < found.heads; head++) {
              for (const [q, at] of [2, P - 1].entries()) {
                const own = Array.from(meanRow(found, q, { layers: [layer], heads: [head] }));
                assert.deepEqual(own.slice(0, P), pattern[0][head][at], `block ${layer}, head ${head}, query ${at}`);
                assert.deepEqual(own.slice(P), [0, 0]);
              }
            }
          }
          const mean = meanRow(found, 3);
          assert.ok(Math.abs(mean.reduce((sum, value) => sum + value, 0) - 1) < 1e-5 && mean[P + 1] > 0);
          const some = [meanRow(found, 0, { layers: [1], heads: [0] }), meanRow(found, 0, { layers: [1], heads: [3] })];
          const both = meanRow(found, 0, { layers: [1], heads: [0, 3] });
          both.forEach((value, key) => assert.ok(Math.abs(value - (some[0][key] + some[1][key]) / 2) < 1e-7));
          assert.deepEqual(found.segments.at(-1), { name: "suffix", start: P, end: P + 3 });
          assert.throws(() => meanRow(found, 4), InputError);
          assert.throws(() => meanRow(found, 0, { heads: [4] }), InputError);
          run.cache.dispose();
          prompt.pixelValues.dispose();
        },
      );

      leakFree("ablations and knock-outs are the edits that they say", async () => {
        const logitsOf = async (edits: Parameters<PaliGemma["runWithHooks"]>[1]) => {
          const logits = await model.runWithHooks(inputs, edits);
          const values = logits.dataSync();
          logits.dispose();
          return values;
        };
        const zero = await logitsOf([ablateHeads(1, [0, 2])]);
        assert.deepEqual(
          zero,
          await logitsOf([
            ["language.blocks.1.attn.hook_z", (z) => z.mul(tf.tensor([0, 1, 0, 1]).reshape([1, 1, 4, 1]))],
          ]),
        );
        const means = await meanActivations(model, [inputs, other], {
          hooks: "language.blocks.1.{attn.hook_z,mlp.hook_post}",
        });
        const z = means.get("language.blocks.1.attn.hook_z")!;
        assert.deepEqual(z.shape, [model.config.text.numAttentionHeads, model.config.text.headDim]);
        const mean = z.slice([2, 0], [1, -1]);
        const [one, two] = [
          await model.runWithCache(inputs, { hooks: "language.blocks.1.attn.hook_z" }),
          await model.runWithCache(other, { hooks: "language.blocks.1.attn.hook_z" }),
        ];
        const apart = tf.tidy(
          () => one.cache.get("z", 1).add(two.cache.get("z", 1)).mean([0, 1]).div(2).sub(z).abs().max().dataSync()[0],
        );
        assert.ok(apart < 1e-6, `the mean is off by ${apart}`);
        for (const run of [one, two]) {
          run.cache.dispose();
          run.logits.dispose();
        }
        const meaned = await logitsOf([ablateHeads(1, [2], { mean })]);
        assert.notDeepEqual(meaned, zero);
        assert.deepEqual(
          await logitsOf([ablateNeurons(1, [3])]),
          await logitsOf([{ hook: "language.blocks.1.mlp.hook_post", op: "suppress", units: [3] }]),
        );
        const edge = knockOut({ from: "image", to: "last", layers: [1, 3], heads: [1] });
        assert.deepEqual(edge, {
          hook: "language.blocks.{1,2}.attn.hook_attn_scores",
          op: "close",
          positions: "last",
          keys: "image",
          heads: [1],
        });
        assert.notDeepEqual(await logitsOf([edge]), await logitsOf([]));
        tf.dispose([...means.values(), mean]);
      });
    });
  }
});
