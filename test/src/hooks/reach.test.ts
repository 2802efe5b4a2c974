import assert from "node:assert/strict";
import path from "node:path";

import * as tf from "@tensorflow/tfjs";

import type { Tap } from "../../../layers/tap.js";
import { InputError } from "../../../src/base/errors.js";
import { hookCatalogue } from "../../../src/model/hook-catalogue.js";
import { attentionRows } from "../../../src/inspection/attention.js";
import type { HookCallback, Intervention } from "../../../src/hooks/edit-tap.js";
import {
  attributionPatching,
  gradientMap,
  gradientsOf,
  integratedGradients,
} from "../../../src/inspection/gradients.js";
import { ablateHeads, knockOut, meanActivations } from "../../../src/inspection/interventions.js";
import { logitLens } from "../../../src/inspection/lens.js";
import { logitDifference } from "../../../src/inspection/metric.js";
import { activationPatching } from "../../../src/inspection/patching.js";
import { JumpReluSae } from "../../../src/inspection/sae.js";
import { spliceSae } from "../../../src/inspection/sae-splice.js";
import type { ModelInputs } from "../../../src/model/inputs.js";
import { PaliGemma } from "../../../src/paligemma.js";
import type { EncodedPicture } from "../../../src/answering/encoded-picture.js";
import type { Question } from "../../../src/answering/question.js";
import { fixtures, readReference } from "../../parity/reference.js";
import { counts, onEachBackend } from "../../support/backends.js";
import { refused } from "../../support/refused.js";
import { tinyFolder } from "../../support/tiny.js";

const folder = path.join(fixtures, "references", "tiny-pg2", "prompt");
const MLP = "vision.blocks.1.hook_mlp_out";
const metric = logitDifference(7, 60);
const drained = async (pieces: AsyncIterable<unknown>): Promise<void> => {
  for await (const piece of pieces) (piece as { cache?: { dispose(): void } }).cache?.dispose();
};

onEachBackend("hooks that cannot fire", (backend) => {
  let model: PaliGemma;
  let question: Question;
  let encoded: EncodedPicture;
  let asked: Question;
  before(async () => {
    const { prompts, pictures } = await readReference(folder);
    model = await PaliGemma.load(tinyFolder("tiny-pg2"), { backend });
    question = { image: path.join(folder, pictures[0][0]), prompt: prompts[0] };
    encoded = await model.encodePicture(path.join(folder, pictures[0][0]));
    asked = { ...question, image: encoded };
    (await model.forward(question)).dispose(); // makes the copies that wasm keeps of matrices
  });
  after(() => {
    encoded.dispose();
    model.dispose();
  });

  const scaled = (hook: string, more = {}): Intervention => ({ hook, op: "scale", factor: 0.5, ...more });
  const looks: HookCallback = () => {};
  const watching = (...names: string[]): Tap =>
    Object.assign((_name: string, value: tf.Tensor) => value, { wants: (name: string) => names.includes(name) });

  it("the catalogue's order is that in which hooks fire", async () => {
    const fired: string[] = [];
    const logits = await model.runWithHooks(question, [["**", (_x, { name }) => void fired.push(name)]]);
    logits.dispose();
    assert.deepEqual(
      fired,
      hookCatalogue(model.config).map(({ name }) => name),
    );
  });

  const onEncoded: Record<string, [(encoded: Question) => unknown, RegExp]> = {
    "an edit while generating": [
      (q) => model.generate(q, { edits: [scaled(MLP)] }),
      /edits\[0\]: vision\.blocks\.1\.hook_mlp_out/,
    ],
    "the second edit": [
      (q) => model.generate(q, { edits: [scaled("language.hook_embed"), scaled("projector.hook_out")] }),
      /edits\[1\]: projector\.hook_out cannot fire: a picture of this call was encoded before/,
    ],
    "an edit in a stream": [(q) => drained(model.stream(q, { edits: [scaled(MLP)] })), /hook_mlp_out cannot fire/],
    "an edit in a batch with a plain picture": [
      (q) => model.generateBatch([question, q], { edits: [scaled(MLP)] }),
      /hook_mlp_out cannot fire/,
    ],
    "an edit through a batcher": [(q) => model.batcher().generate(q, { edits: [scaled(MLP)] }), /cannot fire/],
    "an edit of a task": [
      (q) => model.detect(q.image as EncodedPicture, ["cow"], { edits: [scaled(MLP)] }),
      /cannot fire/,
    ],
    "an edit of ask": [(q) => model.ask(q.image as EncodedPicture, "ocr", { edits: [scaled(MLP)] }), /cannot fire/],
    "heads taken out": [
      (q) => model.runWithHooks(q, [ablateHeads(1, [0], { tower: "vision" })]),
      /vision\.blocks\.1\.attn\.hook_z cannot fire/,
    ],
    "a callback": [(q) => model.runWithHooks(q, [["vision.ln_final.*", looks]]), /vision\.ln_final\.hook_scale/],
    "a callback by a predicate": [
      (q) => model.runWithHooks(q, [[(name) => name.startsWith("projector"), looks]]),
      /projector\.hook_out cannot fire/,
    ],
    "a callback at everything": [(q) => model.runWithHooks(q, [["**", looks]]), /vision\.hook_embed cannot fire/],
    "a tap that wants it": [(q) => model.runWithHooks(q, [watching(MLP)]), /hook_mlp_out cannot fire/],
    "a tap of forward": [(q) => model.forward(q, { tap: watching(MLP) }), /hook_mlp_out cannot fire/],
    "a capture": [(q) => model.runWithCache(q, { hooks: MLP }), /hooks: vision\.blocks\.1\.hook_mlp_out/],
    "a capture beside others": [
      (q) => model.runWithCache(q, { hooks: ["language.hook_embed", "projector.*"], stopAt: "needed" }),
      /projector\.hook_out cannot fire/,
    ],
    "a capture while generating": [
      (q) => drained(model.generateWithCache(q, { capture: { hooks: MLP }, maxNewTokens: 2 })),
      /hook_mlp_out cannot fire/,
    ],
    gradients: [(q) => gradientsOf(model, q, { hooks: MLP, metric }), /hook_mlp_out cannot fire/],
    "a map of gradients": [(q) => gradientMap(model, q, { metric }), /projector\.hook_out cannot fire/],
    "integrated gradients": [
      (q) => integratedGradients(model, q, { hook: MLP, metric, steps: 2 }),
      /hook_mlp_out cannot fire/,
    ],
    "attribution patching from it": [
      (q) => attributionPatching(model, { clean: q, corrupted: question }, { hooks: MLP, metric }),
      /hook_mlp_out cannot fire/,
    ],
    "the lens of the vision tower": [
      (q) => logitLens(model, q, { tower: "vision", layers: [1] }),
      /vision\.blocks\.1\.hook_resid_post cannot fire/,
    ],
    "an edit under the lens": [(q) => logitLens(model, q, { edits: [scaled(MLP)] }), /hook_mlp_out cannot fire/],
    "an edit of attention's run": [(q) => attentionRows(model, q, { edits: [scaled(MLP)] }), /cannot fire/],
    "means over several questions": [(q) => meanActivations(model, [question, q], { hooks: MLP }), /cannot fire/],
  };
  for (const [what, [call, message]] of Object.entries(onEncoded)) {
    it(`${what}: refused on an encoded picture, naming the hook`, () => refused(() => call(asked), message));
  }

  const RESID = "language.blocks.1.hook_resid_pre";
  const nothingMeant: Record<string, [(plain: Question) => unknown, RegExp]> = {
    "steps behind the last token": [
      (q) => model.generate(q, { maxNewTokens: 3, edits: [scaled(RESID, { steps: "3:" })] }),
      /edits\[0\]: language\.blocks\.1\.hook_resid_pre cannot fire in these steps: .* at most 3 passes, steps 0 to 2; name earlier/,
    ],
    "a list of such steps, in a batch": [
      (q) => model.generateBatch([q, q], { maxNewTokens: 2, edits: [scaled(RESID, { steps: [50, "60:70"] })] }),
      /at most 2 passes/,
    ],
    "a suffix that the prompt lacks": [
      (q) => model.runWithHooks(q, [scaled(RESID, { positions: "suffix" })]),
      /edits\[0\]: \{"positions":"suffix"\} means nothing of language\.blocks\.1\.hook_resid_pre in this prompt/,
    ],
    "a suffix, while generating": [
      (q) => model.generate(q, { maxNewTokens: 3, edits: [scaled(RESID, { positions: "suffix" })] }),
      /means nothing/,
    ],
    "keys of a suffix": [
      (q) => model.runWithHooks(q, [knockOut({ from: "suffix", to: "last" })]),
      /"keys":"suffix"\} means nothing/,
    ],
    "generated positions of one pass": [
      (q) => model.runWithHooks(q, [scaled(RESID, { positions: "generated" })]),
      /"generated"\} means nothing/,
    ],
    "the prompt's positions in later passes": [
      (q) => model.generate(q, { maxNewTokens: 3, edits: [scaled(RESID, { positions: "prefix", steps: "1:" })] }),
      /means nothing/,
    ],
    "embedded text at the picture's positions": [
      (q) => model.runWithHooks(q, [scaled("language.hook_embed", { positions: "image" })]),
      /means nothing of language\.hook_embed/,
    ],
    "a capture of a suffix": [
      (q) => model.runWithCache(q, { hooks: RESID, positions: "suffix" }),
      /hooks: \{"positions":"suffix"\} means nothing of .* nothing would be kept/,
    ],
    "the lens at a suffix": [(q) => logitLens(model, q, { positions: "suffix" }), /means nothing/],
    "a list of no positions": [(q) => logitLens(model, q, { positions: [] }), /"positions":\[\]\} means nothing/],
    "patching of a suffix": [
      (q) =>
        activationPatching(model, { clean: q, corrupted: q }, metric, {
          leaf: "hook_resid_pre",
          layers: [1],
          positions: ["suffix"],
        }),
      /patching: \{"positions":"suffix"\} means no position/,
    ],
  };
  for (const [what, [call, message]] of Object.entries(nothingMeant)) {
    it(`${what}: refused, and not passed over in silence`, () => refused(() => call(question), message));
  }

  it("positions that later passes alone have, and segments beside a present one, are taken", async () => {
    const texts = [];
    for (const edit of [
      scaled(RESID, { positions: "generated" }),
      scaled(RESID, { positions: ["suffix", "prefix"] }),
      scaled(RESID, { steps: 2 }),
    ]) {
      texts.push((await model.generate(question, { maxNewTokens: 3, edits: [edit] })).text);
    }
    assert.equal(texts.length, 3);
  });

  it("a tap that listens to whatever comes is no reason to refuse an encoded picture", async () => {
    const [seen, other]: string[][] = [[], []];
    const watch: Tap = (name, value) => (seen.push(name), value);
    const logits = await model.runWithHooks(asked, [watch, scaled(RESID)]);
    const plain = await model.runWithHooks(asked, [
      Object.assign(((name, value) => (other.push(name), value)) as Tap, { wants: (name: string) => name === RESID }),
      scaled(RESID),
    ]);
    assert.deepEqual(logits.dataSync(), plain.dataSync());
    assert.deepEqual([seen.includes(RESID), other], [true, [RESID]]);
    tf.dispose([logits, plain]);
  });

  it("hooks of the decoder fire on an encoded picture as on the picture itself", async () => {
    const edits = [scaled("language.blocks.1.hook_mlp_out")];
    const [plain, shared] = await Promise.all([question, asked].map((q) => model.runWithHooks(q, edits)));
    assert.deepEqual(shared.dataSync(), plain.dataSync());
    tf.dispose([plain, shared]);
  });

  it("patching takes encoded pictures, and finds what it finds with the pictures", async () => {
    const grey = { data: new Uint8Array(7 * 5 * 3).fill(90), width: 7, height: 5 };
    const corrupted = { ...question, image: grey };
    const sweep = { leaf: "hook_resid_pre", layers: [1], positions: ["image", "last"] };
    const plain = await activationPatching(model, { clean: question, corrupted }, metric, sweep);
    const greyEncoded = await model.encodePicture(grey);
    const both = { clean: asked, corrupted: { ...question, image: greyEncoded } };
    const found = await activationPatching(model, both, metric, sweep);
    greyEncoded.dispose();
    assert.notEqual(plain.clean, plain.corrupted);
    assert.deepEqual(found, plain);
  });

  it("an autoencoder spliced into the vision tower is refused on an encoded picture", async () => {
    const width = model.config.vision.hiddenSize;
    const sae = new JumpReluSae("sae", {
      wEnc: tf.randomNormal([width, 5]),
      wDec: tf.randomNormal([5, width]),
      bEnc: tf.zeros([5]),
      bDec: tf.zeros([width]),
      threshold: tf.zeros([5]),
    });
    const splice = spliceSae(sae, "vision.blocks.0.hook_resid_post");
    await refused(() => model.runWithHooks(asked, [splice]), /vision\.blocks\.0\.hook_resid_post cannot fire/);
    const nowhere = spliceSae(sae, "vision.block.0.hook_resid_post");
    await refused(() => model.runWithHooks(question, [nowhere]), /edits\[0\]: this tap wants none/);
    splice.dispose();
    sae.dispose();
  });

  it("ready inputs: the same law for rows in place of pixels, and without pictures", async () => {
    const text: ModelInputs = { pixelValues: null, inputIds: [[2, 60, 61]] };
    await refused(() => model.runWithHooks(text, [scaled(MLP)]), /cannot fire: these inputs hold no picture/);
    await refused(() => model.runWithCache(text, { hooks: "projector.hook_out" }), /hold no picture/);
    await refused(() => model.forward(text, { tap: watching(MLP) }), /tap: vision\.blocks\.1/);
    const { inputIds } = await model.process(question);
    const rows: ModelInputs = { pixelValues: null, imageRows: encoded.rows, inputIds };
    await refused(() => model.runWithHooks(rows, [scaled(MLP)]), /was encoded before/);
    await refused(() => model.network.forward(rows, { tap: watching(MLP) }), /was encoded before/);
    const pixels = tf.zeros([1, 28, 28, 3]);
    await refused(
      () => model.network.encodeImages(pixels, watching("language.hook_embed")),
      /language\.hook_embed cannot fire: encoding a picture/,
    );
    model.network.encodeImages(pixels, watching("language.hook_embed", "projector.hook_out")).dispose();
    pixels.dispose();
  });

  it("nothing fires behind the activation where a run stops, and what is asked for there is refused", async () => {
    const behind = "language.blocks.2.hook_resid_pre";
    const stopAt = "language.blocks.1.hook_resid_post";
    const hooks = "language.blocks.1.hook_mlp_out";
    await refused(
      () => model.runWithCache(question, { hooks: [hooks, behind], stopAt }),
      /hooks: language\.blocks\.2\.hook_resid_pre cannot fire: the call stops before it/,
    );
    await refused(() => model.runWithCache(question, { hooks, stopAt, edits: [scaled(behind)] }), /edits\[0\]/);
    await refused(() => model.runWithCache(question, { hooks, stopAt, edits: [[behind, looks]] }), /edits\[0\]/);
    await refused(
      () => logitLens(model, question, { edits: [scaled("language.ln_final.hook_out")] }),
      /language\.ln_final\.hook_out cannot fire/,
    );
  });

  it("a run that stops behind what is needed goes on to what its edits name", async () => {
    const seen: string[] = [];
    const hook = "language.blocks.2.hook_mlp_out";
    const { cache, logits } = await model.runWithCache(question, {
      hooks: "language.hook_embed",
      edits: [[hook, (_x, { name }) => void seen.push(name)]],
      stopAt: "needed",
    });
    cache.dispose();
    assert.equal(logits, null);
    assert.deepEqual(seen, [hook]);
  });

  it("an edit for passes that the call has not is refused", async () => {
    const later = scaled("language.blocks.0.hook_mlp_out", { steps: "1:" });
    await refused(() => model.runWithHooks(question, [later]), /cannot fire in these steps: the call has one pass/);
    await refused(
      () => model.generate(question, { edits: [scaled(MLP, { steps: 2 })], maxNewTokens: 4 }),
      /vision\.blocks\.1\.hook_mlp_out cannot fire in these steps: it fires in the pass over the prompt/,
    );
    const { tokens } = await model.generate(question, { edits: [later], maxNewTokens: 3 });
    assert.equal(tokens.length, 3);
  });

  it("a predicate that selects nothing is refused, for a callback and for a capture", async () => {
    await refused(() => model.runWithHooks(question, [[() => false, looks]]), /the predicate selects no activation/);
    await refused(() => model.runWithCache(question, { hooks: () => false }), /the predicate selects no activation/);
  });
});

onEachBackend("what a callback returns", (backend) => {
  let model: PaliGemma;
  const question = { image: { data: new Uint8Array(7 * 5 * 3).fill(90), width: 7, height: 5 }, prompt: "ocr" };
  before(async () => {
    model = await PaliGemma.load(tinyFolder("tiny-pg2"), { backend });
    await model.generate(question, { maxNewTokens: 2 });
  });
  after(() => model.dispose());

  const bad: Record<string, [(x: tf.Tensor) => unknown, RegExp]> = {
    "a promise": [async (x) => x.mul(2), /received a promise; return the tensor itself/],
    "a promise that rejects": [() => Promise.reject(new Error("later")), /received a promise/],
    "another dtype": [(x) => x.toInt(), /received one of the type int32/],
    "another shape": [() => tf.zeros([3]), /received \[3\]/],
    "no tensor": [() => 3, /received 3/],
    "a disposed tensor": [
      (x) => {
        const y = x.mul(2);
        y.dispose();
        return y;
      },
      /received one that has been disposed/,
    ],
    "nothing, having disposed the activation": [(x) => x.dispose(), /was disposed, which the run goes on with/],
    "a tensor, having disposed the activation": [
      (x) => {
        const y = x.mul(2);
        x.dispose();
        return y;
      },
      /was disposed, which the run goes on with/,
    ],
  };
  for (const hook of ["vision.blocks.1.hook_mlp_out", "language.blocks.1.attn.hook_z"]) {
    for (const [what, [returns, message]] of Object.entries(bad)) {
      it(`${what} at ${hook}: an InputError that names the hook, nothing unhandled and no leak`, async () => {
        const before = counts();
        const isNamed = (error: Error) =>
          error instanceof InputError && error.message.includes(hook) && message.test(error.message);
        const callback = returns as HookCallback;
        await assert.rejects(model.runWithHooks(question, [[hook, callback]]), isNamed);
        await assert.rejects(model.generate(question, { edits: [[hook, callback]], maxNewTokens: 2 }), isNamed);
        const tap: Tap = (name, value) => (name === hook ? (returns(value) as tf.Tensor) : value);
        await assert.rejects(model.forward(question, { tap }), isNamed);
        // a rejection that nobody handles would end the process here
        await new Promise((resolve) => setImmediate(resolve));
        assert.deepEqual(counts(), before);
      });
    }

    it(`an error thrown at ${hook} is told with the hook, and kept as the cause`, async () => {
      const before = counts();
      const mine = new TypeError("mine");
      const throws: HookCallback = () => {
        throw mine;
      };
      await assert.rejects(model.runWithHooks(question, [[hook, throws]]), (error: Error) => {
        assert.equal(error.message, `edits[0]: the callback for ${hook} threw: mine`);
        return error instanceof InputError && error.cause === mine;
      });
      assert.deepEqual(counts(), before);
    });
  }
});
