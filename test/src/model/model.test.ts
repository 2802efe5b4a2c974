import { strict as assert } from "node:assert";
import path from "node:path";

import * as tf from "@tensorflow/tfjs";

import type { Tap } from "../../../layers/tap.js";
import { InputError } from "../../../src/base/errors.js";
import { decode } from "../../../src/decoding/decode.js";
import type { ModelInputs } from "../../../src/model/inputs.js";
import { expectedTensors, type PaliGemmaModel } from "../../../src/model/model.js";
import { bigVision, settingsWith } from "../../../src/model/settings.js";
import { fixtures, modelInputs, readReference } from "../../parity/reference.js";
import { counts, leakFree, onEachBackend } from "../../support/backends.js";
import { random } from "../../layers/cases.js";
import { tinyNetwork } from "../../support/tiny.js";

const IMAGE = Array<number>(16).fill(299);
const largest = (x: tf.Tensor) => tf.tidy(() => x.abs().max().dataSync()[0]);

onEachBackend("the model", () => {
  for (const name of ["tiny-pg1", "tiny-pg2"]) {
    describe(name, () => {
      let model: PaliGemmaModel;
      let pixelValues: tf.Tensor;
      before(async () => {
        model = await tinyNetwork(name);
        pixelValues = random([1, 28, 28, 3]);
      });
      after(() => {
        pixelValues.dispose();
        model.dispose();
      });
      const prompt = (): ModelInputs => ({ pixelValues, inputIds: [[...IMAGE, 2, 60, 61, 62, 63]] });

      it("cached decoding gives at every step what the whole sequence gives, past the window", () => {
        const added = Array.from({ length: 12 }, (_, i) => 30 + 7 * i);
        const start = prompt();
        const state = model.newState();
        model.forward(start, { state, rows: "last" }).dispose();
        added.forEach((id, i) => {
          tf.tidy(() => {
            const step = { pixelValues: null, inputIds: [[id]], tokenTypeIds: [[1]] };
            const cached = model.forward(step, { state, rows: "last" });
            const inputIds = [[...start.inputIds[0], ...added.slice(0, i + 1)]];
            const tokenTypeIds = [inputIds[0].map((_, at) => (at < start.inputIds[0].length ? 0 : 1))];
            const whole = model.forward({ pixelValues, inputIds, tokenTypeIds });
            const last = whole.slice([0, inputIds[0].length - 1, 0], [-1, 1, -1]);
            const error = largest(cached.sub(last));
            assert.ok(error < 1e-4, `step ${i}: ${error}`);
          });
        });
        state.dispose();
      });

      it("the logits of the last rows have the same bits whether somebody listens or not", () => {
        tf.tidy(() => {
          const { inputIds } = prompt();
          const twice = { pixelValues: tf.concat([pixelValues, pixelValues]), inputIds: [inputIds[0], inputIds[0]] };
          const few = { pixelValues: null, inputIds: [[2, 60, 61]] };
          for (const inputs of [prompt(), twice, few]) {
            let heard = 0;
            const tap: Tap = (_name, value) => (heard++, value);
            const listened = model.forward(inputs, { rows: "last", tap });
            assert.ok(heard > 0);
            assert.deepEqual(model.forward(inputs, { rows: "last" }).dataSync(), listened.dataSync());
          }
        });
      });

      it("several tokens at once into the cache give what they give one by one", () => {
        tf.tidy(() => {
          const state = model.newState();
          model.forward(prompt(), { state });
          const step = { pixelValues: null, inputIds: [[70, 71, 72]], tokenTypeIds: [[1, 1, 1]] };
          const together = model.forward(step, { state });
          const inputIds = [[...prompt().inputIds[0], 70, 71, 72]];
          const tokenTypeIds = [inputIds[0].map((_, i) => (i < 21 ? 0 : 1))];
          const whole = model.forward({ pixelValues, inputIds, tokenTypeIds }).slice([0, 21, 0], [-1, 3, -1]);
          assert.ok(largest(together.sub(whole)) < 1e-4);
          state.dispose();
        });
      });

      it("only the last row of logits is computed when only that is asked for", () => {
        tf.tidy(() => {
          const shapes: number[][] = [];
          const last = model.forward(prompt(), {
            rows: "last",
            tap: (hook, value) => {
              if (hook === "language.unembed.hook_out") shapes.push(value.shape);
              return value;
            },
          });
          assert.deepEqual(shapes, [[1, 1, 300]]);
          const all = model.forward(prompt());
          assert.ok(largest(last.sub(all.slice([0, 20, 0], [-1, 1, -1]))) < 1e-5);
        });
      });

      it("a left-padded row gives what it gives alone, whatever the pads hold", () => {
        tf.tidy(() => {
          const alone = model.forward(prompt(), { rows: "last" });
          for (const pad of [0, 77]) {
            const padded = model.forward(
              {
                pixelValues,
                inputIds: [[pad, pad, pad, ...prompt().inputIds[0]]],
                attentionMask: [[0, 0, 0, ...Array<number>(21).fill(1)]],
              },
              { rows: "last" },
            );
            assert.ok(largest(padded.sub(alone)) < 1e-4);
          }
        });
      });

      it("positions counted from 0 or from 100 give the same logits but for rounding", async () => {
        const usual = model.forward(prompt());
        const offset = await tinyNetwork(name, { settings: settingsWith({ positionOffset: 0 }) });
        tf.tidy(() => {
          assert.ok(largest(offset.forward(prompt()).sub(usual)) < 1e-4);
          const positionIds = [prompt().inputIds[0].map((_, i) => 100 + i)];
          assert.ok(largest(model.forward({ ...prompt(), positionIds }).sub(usual)) < 1e-4);
          const restarted = [prompt().inputIds[0].map((_, i) => (i < 16 ? i : i - 16))];
          assert.ok(largest(model.forward({ ...prompt(), positionIds: restarted }).sub(usual)) > 1e-2);
        });
        usual.dispose();
        offset.dispose();
      });

      it("text alone is accepted, and no picture is then expected", () => {
        tf.tidy(() => {
          const logits = model.forward({ pixelValues: null, inputIds: [[2, 60, 61]] });
          assert.deepEqual(logits.shape, [1, 3, 300]);
        });
      });

      it("rows with unequal numbers of pictures give what they give alone", () => {
        tf.tidy(() => {
          const two = random([2, 28, 28, 3], 5);
          const rows = [
            [...IMAGE, 2, 60, 61, ...Array.from({ length: 16 }, (_, i) => 40 + i)],
            [...IMAGE, ...IMAGE, 2, 60, 61],
          ];
          const pictures = tf.concat([pixelValues, two]);
          const embeds: number[][] = [];
          const tap: Tap = (hook, value) => {
            if (hook === "language.hook_embed") embeds.push(value.shape);
            return value;
          };
          const both = model.forward({ pixelValues: pictures, inputIds: rows }, { tap });
          assert.deepEqual(
            embeds.map(([B, T]) => [B, T]),
            [[1, 19 + 3]],
            "text rows one after another",
          );
          const first = model.forward({ pixelValues, inputIds: [rows[0]] });
          const second = model.forward({ pixelValues: two, inputIds: [rows[1]] });
          assert.ok(largest(both.sub(tf.concat([first, second]))) < 1e-4);
        });
      });

      it("neither a forward pass nor decoding leaves anything behind, and dispose frees the weights", async () => {
        const before = counts();
        const other = await tinyNetwork(name);
        const loaded = counts();
        assert.equal(loaded.tensors - before.tensors, expectedTensors(other.config).size);
        const logits = other.forward(prompt());
        const warm = counts();
        for await (const step of decode(other, prompt(), { maxNewTokens: 4 })) assert.equal(step.tokens.length, 1);
        assert.equal(counts().tensors, warm.tensors);
        for await (const step of decode(other, prompt(), { maxNewTokens: 4 })) {
          assert.equal(step.finished.length, 1);
          break; // leaving early must free the cache as well
        }
        assert.equal(counts().tensors, warm.tensors);
        logits.dispose();
        other.dispose();
        assert.equal(counts().tensors, before.tensors);
      });
    });
  }

  leakFree("the expected tensors are found without keeping any", async () => {
    const model = await tinyNetwork("tiny-pg2");
    assert.equal(expectedTensors(model.config).size, 101);
    model.dispose();
  });

  it("without its window PaliGemma 2 sees further back, as big_vision does", async () => {
    const reference = await readReference(path.join(fixtures, "references", "tiny-pg2", "suffix"));
    const inputs = modelInputs(reference);
    const [windowed, open] = [await tinyNetwork("tiny-pg2"), await tinyNetwork("tiny-pg2", { settings: bigVision })];
    tf.tidy(() => {
      const [a, b] = [windowed, open].map((model) =>
        model.forward({ ...inputs, positionIds: undefined } as ModelInputs),
      );
      const rows = inputs.tokenTypeIds![0].indexOf(1);
      const difference = a.sub(b);
      assert.ok(largest(difference.slice([0, 0, 0], [-1, rows, -1])) < 1e-4, "the block has no window");
      assert.ok(largest(difference.slice([0, rows, 0])) > 1e-2);
    });
    tf.dispose([inputs.pixelValues]);
    windowed.dispose();
    open.dispose();
  });
});

onEachBackend("inputs that do not fit", () => {
  let model: PaliGemmaModel;
  let pixelValues: tf.Tensor;
  before(async () => {
    model = await tinyNetwork("tiny-pg2");
    pixelValues = random([1, 28, 28, 3]);
  });
  after(() => {
    pixelValues.dispose();
    model.dispose();
  });
  const ids = [[...IMAGE, 2, 60]];
  const cases: [why: string, inputs: () => ModelInputs, message: RegExp][] = [
    ["no token", () => ({ pixelValues: null, inputIds: [[]] }), /inputIds: expected at least one token/],
    ["an id outside the vocabulary", () => ({ pixelValues: null, inputIds: [[300]] }), /\[0, 300\), received 300/],
    ["a negative id", () => ({ pixelValues: null, inputIds: [[-1]] }), /received -1/],
    ["ragged rows", () => ({ pixelValues: null, inputIds: [[2, 3], [2]] }), /inputIds: expected 2 rows of 2, received one of 1/],
    ["a mask of another length", () => ({ pixelValues: null, inputIds: [[2]], attentionMask: [[1, 1]] }), /attentionMask/],
    ["types that go back", () => ({ pixelValues: null, inputIds: [[2, 3]], tokenTypeIds: [[1, 0]] }), /tokenTypeIds.*10$/],
    ["image tokens without a picture", () => ({ pixelValues: null, inputIds: ids }), /0 pictures x 16 = 0 image tokens, received 16/],
    ["a picture without image tokens", () => ({ pixelValues, inputIds: [[2]] }), /1 pictures x 16 = 16 image tokens, received 0/],
    ["too few image tokens", () => ({ pixelValues, inputIds: [ids[0].slice(1)] }), /received 15/],
    ["more positions than the context", () => ({ pixelValues: null, inputIds: [Array<number>(8193).fill(7)] }), /at most 8192 tokens.*received 8193/],
    ["pixels of another size", () => ({ pixelValues: pixelValues.slice([0, 0], [1, 27]), inputIds: ids }), /28, 28, 3\], received \[1, 27, 28, 3\]/],
  ]; // prettier-ignore
  it("a row that ends in a pad has no last token to go on from", () => {
    tf.tidy(() => {
      const inputs = { pixelValues: null, inputIds: [[2, 60, 0]], attentionMask: [[1, 1, 0]] };
      assert.throws(() => model.forward(inputs, { rows: "last" }), /pad on the left/);
      assert.deepEqual(model.forward(inputs).shape, [1, 3, 300]);
    });
  });

  it("other rows than those in the state are refused, and a state is empty after a failed run and can be used again", () => {
    tf.tidy(() => {
      const state = model.newState();
      const inputs = { pixelValues: null, inputIds: [[2, 60, 61]] };
      const expected = model.forward(inputs, { rows: "last" }).dataSync();
      model.forward(inputs, { state });
      const twoRows = { pixelValues: null, inputIds: [[2], [2]] };
      assert.throws(() => model.forward(twoRows, { state }), /expected 1 rows, as in the state/);
      const failing: Tap = (name, value) => {
        if (name === "language.blocks.2.hook_mlp_out") throw new Error("no");
        return value;
      };
      assert.throws(
        () => model.forward({ pixelValues: null, inputIds: [[62]] }, { state, tap: failing }),
        /^Error: no$/,
      );
      assert.deepEqual(model.forward(inputs, { state, rows: "last" }).dataSync(), expected);
      state.dispose();
    });
  });

  it("a tap that returns nothing, or another shape, is named", () => {
    const tapped = (result: () => unknown) => () =>
      model.forward(
        { pixelValues: null, inputIds: [[2, 60]] },
        { tap: (name, value) => (name === "language.blocks.1.attn.hook_z" ? (result() as tf.Tensor) : value) },
      );
    tf.tidy(() => {
      const nothing = tapped(() => undefined);
      assert.throws(
        nothing,
        /expected a tensor \[1, 2, 4, 16\] back for language\.blocks\.1\.attn\.hook_z, received nothing/,
      );
      assert.throws(
        tapped(() => tf.scalar(1)),
        /received \[\]/,
      );
      assert.throws(
        tapped(() => tf.zeros([1, 2, 4, 16], "int32")),
        /back for language\.blocks\.1\.attn\.hook_z, received one of the type int32/,
      );
    });
  });

  for (const [why, inputs, message] of cases) {
    it(`${why}: refused in one sentence`, () => {
      tf.tidy(() => {
        assert.throws(
          () => model.forward(inputs()),
          (error) => error instanceof InputError && message.test(error.message),
        );
      });
    });
  }
});
