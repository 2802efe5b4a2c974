import { strict as assert } from "node:assert";
import path from "node:path";

import * as tf from "@tensorflow/tfjs";

import type { Tap } from "../../../layers/tap.js";
import { InputError } from "../../../src/base/errors.js";
import { hookCatalogue } from "../../../src/model/hook-catalogue.js";
import { ActivationCache } from "../../../src/hooks/activation-cache.js";
import { selectHooks } from "../../../src/hooks/hook-filter.js";
import type { PaliGemmaModel } from "../../../src/model/model.js";
import { fixtures, modelInputs, readReference, type Reference } from "../../parity/reference.js";
import { counts, LONG, onEachBackend } from "../../support/backends.js";
import { tinyNetwork } from "../../support/tiny.js";

describe("hook filters", () => {
  const names = [
    "vision.blocks.0.attn.hook_q",
    "vision.blocks.10.attn.hook_q",
    "vision.ln_final.hook_out",
    "language.hook_embed",
  ];

  it("a star stays within one dotted part", () => {
    assert.deepEqual(selectHooks("vision.blocks.*.attn.hook_q", names), names.slice(0, 2));
    assert.deepEqual(selectHooks("vision.blocks.1*.**", names), [names[1]]);
    assert.throws(() => selectHooks("vision.*", names), InputError);
  });
  it("two stars cross parts, and braces give alternatives", () => {
    assert.deepEqual(selectHooks("**", names), names);
    assert.deepEqual(selectHooks("{vision.ln_final,language}.hook_{out,embed}", names), names.slice(2));
  });
  it("several globs and predicates select in the order of the catalogue", () => {
    assert.deepEqual(selectHooks(["language.**", "vision.ln_final.**"], names), names.slice(2));
    assert.deepEqual(
      selectHooks((name) => name.endsWith("hook_q"), names),
      names.slice(0, 2),
    );
  });
  it("no glob at all is an error", () => assert.throws(() => selectHooks([], names), InputError));
  it("a dot is a dot and no other character", () =>
    assert.throws(() => selectHooks("vision?ln_final?hook_out", names)));
  it("a glob without a match is an error that names near hooks", () => {
    assert.throws(
      () => selectHooks("language.hook_embd", names),
      /"language.hook_embd" matches no activation.*language\.hook_embed/,
    );
  });
});

onEachBackend("laws of the hooks", (backend) => {
  for (const name of ["tiny-pg1", "tiny-pg2"]) {
    const long = backend === "cpu" && name === "tiny-pg2" ? LONG : "";
    describe(name, () => {
      let model: PaliGemmaModel;
      let reference: Reference;
      let inputs: ReturnType<typeof modelInputs>;
      const cache = new ActivationCache();
      let logits: Float32Array;
      before(async () => {
        model = await tinyNetwork(name);
        reference = await readReference(path.join(fixtures, "references", name, "suffix"));
        inputs = modelInputs(reference);
        logits = run();
        run(cache.capture(hookCatalogue(model.config)));
      });
      after(() => {
        cache.dispose();
        inputs.pixelValues.dispose();
        model.dispose();
      });

      const run = (tap?: Tap) => tf.tidy(() => model.forward(inputs, tap ? { tap } : {}).dataSync() as Float32Array);
      const values = (hook: string) => cache.get(hook).dataSync();

      it("the catalogue's names are those that fire, in its order, with its shapes", () => {
        const fired: string[] = [];
        run((hook, value) => {
          fired.push(`${hook} [${value.shape.join(", ")}]`);
          return value;
        });
        const [B, T] = [inputs.inputIds.length, inputs.inputIds[0].length];
        const T_text = inputs.inputIds[0].filter((id) => id !== model.config.imageTokenId).length;
        const sizes: Record<string, number> = { I: 1, B, T, S: T, T_text };
        const listed = hookCatalogue(model.config).map(
          ({ name, shape }) =>
            `${name} [${shape.map((axis) => (typeof axis === "string" ? sizes[axis] : axis)).join(", ")}]`,
        );
        assert.deepEqual(fired, listed);
      });

      it("looking changes nothing: logits are bit-identical", () => {
        assert.deepEqual(
          run((_hook, value) => value.clone()),
          logits,
        );
        assert.deepEqual(values("language.unembed.hook_out"), logits);
      });

      it(`each is shown to whoever listens to it alone, with the same bits${long}`, () => {
        const names = hookCatalogue(model.config).map(({ name }) => name);
        for (const wanted of names.filter((name) => !/blocks\.[1-9]/.test(name))) {
          const seen: Float32Array[] = [];
          const only: Tap = (name, value) => {
            if (name === wanted) seen.push(value.dataSync() as Float32Array);
            return value;
          };
          run(Object.assign(only, { wants: (name: string) => name === wanted }));
          assert.deepEqual(seen, [values(wanted)], wanted);
        }
      });

      it(`putting every captured activation back reproduces the run${long}`, () => {
        for (const { name: hook } of hookCatalogue(model.config)) {
          const again = run((at, value) => (at === hook ? cache.get(hook).clone() : value));
          assert.deepEqual(again, logits, hook);
        }
      });

      it(`what a tap returns is what is used from there on, at every name${long}`, () => {
        // Reversed along its last axis no activation is what it was, scales [.., 1] aside, which are doubled.
        for (const { name: hook, shape } of hookCatalogue(model.config)) {
          const changed = run((at, value) =>
            at !== hook ? value : shape.at(-1) === 1 ? value.mul(2) : value.reverse(-1),
          );
          assert.notDeepEqual(changed, logits, hook);
        }
      });

      it("the residual stream is the exact sum of what is added to it, and passes on between blocks", () => {
        for (const [tower, layers] of [
          ["vision", model.config.vision.numHiddenLayers],
          ["language", model.config.text.numHiddenLayers],
        ] as const) {
          for (let i = 0; i < layers; i++) {
            const at = (hook: string) => cache.get(`${tower}.blocks.${i}.${hook}`);
            tf.tidy(() => {
              const mid = at("hook_resid_pre").add(at("hook_attn_out"));
              assert.deepEqual(mid.dataSync(), at("hook_resid_mid").dataSync());
              assert.deepEqual(mid.add(at("hook_mlp_out")).dataSync(), at("hook_resid_post").dataSync());
            });
            if (i > 0)
              assert.deepEqual(values(`${tower}.blocks.${i - 1}.hook_resid_post`), at("hook_resid_pre").dataSync());
          }
        }
      });

      it("pattern rows sum to 1, are exactly 0 on closed cells, and are the softmax of the scores", () => {
        for (const hook of cache.names.filter((one) => one.endsWith("hook_pattern"))) {
          tf.tidy(() => {
            const pattern = cache.get(hook);
            const scores = cache.get(hook.replace("hook_pattern", "hook_attn_scores"));
            const sums = pattern.sum(-1).sub(1).abs().max().dataSync()[0];
            assert.ok(sums < 1e-6, `${hook}: ${sums}`);
            const closed = scores.less(-1e30).toFloat();
            assert.equal(pattern.mul(closed).abs().max().dataSync()[0], 0, hook);
            assert.ok(pattern.sub(scores.softmax()).abs().max().dataSync()[0] < 1e-6, hook);
          });
        }
      });

      it("projected image rows enter the decoder as they are, and text rows as they were embedded", () => {
        const merged = cache.get("language.blocks.0.hook_resid_pre");
        const P = cache.get("projector.hook_out").shape[1]!;
        tf.tidy(() => {
          assert.deepEqual(merged.slice([0, 0, 0], [-1, P, -1]).dataSync(), values("projector.hook_out"));
          assert.deepEqual(merged.slice([0, P, 0], [-1, -1, -1]).dataSync(), values("language.hook_embed"));
        });
      });

      it("with every addend zeroed the decoder is unembed(norm(embed))", () => {
        const zeroed = run((hook, value) =>
          /^language.*hook_(attn|mlp)_out$/.test(hook) ? tf.zerosLike(value) : value,
        );
        const direct = run((hook, value) =>
          /^language.*hook_resid_post$/.test(hook) ? cache.get("language.blocks.0.hook_resid_pre").clone() : value,
        );
        assert.deepEqual(zeroed, direct);
      });

      it("the last prompt token moves image rows from layer 1 on, and a suffix token moves nothing before it", () => {
        const moved = (position: number, hook: string, rows: [number, number]) => {
          const ids = inputs.inputIds.map((row) => row.map((id, i) => (i === position ? (id === 60 ? 61 : 60) : id)));
          const other = new ActivationCache();
          tf.tidy(() =>
            model.forward(
              { ...inputs, inputIds: ids },
              { tap: other.capture(hookCatalogue(model.config).filter(({ name }) => name === hook)) },
            ),
          );
          const difference = tf.tidy(() => {
            const cut = (t: tf.Tensor) => t.slice([0, rows[0], 0], [-1, rows[1] - rows[0], -1]);
            return cut(other.get(hook))
              .sub(cut(cache.get(hook)))
              .abs()
              .max()
              .dataSync()[0];
          });
          other.dispose();
          return difference;
        };
        const types = inputs.tokenTypeIds![0];
        const suffix = types.indexOf(1);
        const P = cache.get("projector.hook_out").shape[1]!;
        assert.ok(moved(suffix - 1, "language.blocks.1.hook_resid_pre", [0, P]) > 1e-3);
        for (let i = suffix + 1; i < types.length; i++) {
          assert.equal(moved(i, "language.ln_final.hook_out", [0, i]), 0, `suffix token ${i}`);
        }
      });

      it("captures are freed with their cache, and a run keeps nothing else", () => {
        run();
        const before = counts();
        const other = new ActivationCache();
        run(other.capture(hookCatalogue(model.config).filter(({ name }) => name.endsWith("hook_pattern"))));
        assert.ok(counts().tensors > before.tensors);
        other.dispose();
        assert.deepEqual(counts(), before);
      });
    });
  }
});
