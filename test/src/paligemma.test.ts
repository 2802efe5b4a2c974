import { strict as assert } from "node:assert";
import { statSync } from "node:fs";
import { cp, readFile, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import path from "node:path";

import * as tf from "@tensorflow/tfjs";

import { PaliGemma } from "../../src/paligemma.js";
import { InputError } from "../../src/base/errors.js";
import { fixtures, readReference, type Reference } from "../parity/reference.js";
import { counts, onEachBackend } from "../support/backends.js";
import { requestsOf } from "../support/serve.js";
import { inTemporaryFolder } from "../support/temporary.js";
import { tinyFolder } from "../support/tiny.js";

const folder = path.join(fixtures, "references", "tiny-pg2", "prompt");

onEachBackend("the PaliGemma class", (backend) => {
  let model: PaliGemma;
  let reference: Reference;
  let image: string;
  before(async () => {
    reference = await readReference(folder);
    image = path.join(folder, reference.pictures[0][0]);
    model = await PaliGemma.load(tinyFolder("tiny-pg2"), { backend });
  });
  after(() => model.dispose());
  const question = () => ({ image, prompt: reference.prompts[0] });

  it("turns a picture file and a prompt into the reference's pixels and ids", async () => {
    const inputs = await model.process(question());
    assert.deepEqual(inputs.inputIds.flat(), [...reference.inputs.get("input_ids")!.values]);
    assert.deepEqual(inputs.tokenTypeIds.flat(), [...reference.inputs.get("token_type_ids")!.values]);
    assert.deepEqual(inputs.attentionMask.flat(), [...reference.inputs.get("attention_mask")!.values]);
    assert.deepEqual(inputs.pixelBytes, reference.inputs.get("pixel_bytes")!.values);
  });

  it("begins prompts with the id that the tokenizer gives the begin mark, whatever config.json says", async () => {
    await inTemporaryFolder(async (place) => {
      await cp(tinyFolder("tiny-pg2"), place, { recursive: true });
      const file = path.join(place, "config.json");
      const config = JSON.parse(await readFile(file, "utf8")) as object;
      await writeFile(file, JSON.stringify({ ...config, bos_token_id: 9, pad_token_id: 8 }));
      const other = await PaliGemma.load(place, { backend });
      assert.deepEqual([other.config.bosTokenId, other.config.padTokenId], [2, 0]);
      assert.deepEqual((await other.process(question())).inputIds, (await model.process(question())).inputIds);
      other.dispose();
    });
  });

  it("answers with the reference's greedy tokens, and says where and how", async () => {
    const answer = await model.generate(question(), { maxNewTokens: 24 });
    assert.deepEqual(answer.tokens, reference.greedy[0]);
    assert.equal(answer.promptTokens, 22);
    assert.equal(answer.finishReason, "length");
    assert.equal(answer.backend, backend);
    assert.equal(answer.dtype, "float32");
    assert.ok(answer.timings.total >= answer.timings.decode);
  });

  it("streams the same tokens, and pieces that join to the same text", async () => {
    const answer = await model.generate(question(), { maxNewTokens: 24 });
    const [tokens, pieces]: [number[], string[]] = [[], []];
    for await (const { token, text } of model.stream(question(), { maxNewTokens: 24 })) {
      tokens.push(token);
      pieces.push(text);
    }
    assert.deepEqual(tokens, answer.tokens);
    assert.equal(pieces.join(""), answer.text);
  });

  it("takes bytes, raw pixels and ready pixel tensors, and answers alike", async () => {
    const expected = (await model.generate(question(), { maxNewTokens: 3 })).tokens;
    const { pixelValues, pixelBytes } = await model.process(question());
    const forms = [
      await readFile(image),
      { data: pixelBytes!, width: 28, height: 28 },
      { pixels: pixelValues, width: 28, height: 28 },
    ];
    for (const form of forms) {
      const { tokens } = await model.generate({ image: form, prompt: reference.prompts[0] }, { maxNewTokens: 3 });
      assert.deepEqual(tokens, expected);
    }
  });

  it("samples repeatably with a seed", async () => {
    const ids = async (seed: number) =>
      (await model.generate(question(), { maxNewTokens: 8, temperature: 3, topK: 50, topP: 0.95, seed })).tokens;
    assert.deepEqual(await ids(1), await ids(1));
    assert.notDeepEqual(await ids(1), await ids(2));
  });

  it("stops when it is aborted, with the signal's reason, and can be asked again", async () => {
    const controller = new AbortController();
    const before = counts();
    const seen: number[] = [];
    await assert.rejects(
      async () => {
        for await (const { token } of model.stream(question(), { maxNewTokens: 24, signal: controller.signal })) {
          seen.push(token);
          if (seen.length === 3) controller.abort(new Error("enough"));
        }
      },
      { message: "enough" },
    );
    assert.equal(seen.length, 3);
    assert.equal(counts().tensors, before.tensors);
    await assert.rejects(model.generate(question(), { signal: AbortSignal.abort() }), { name: "AbortError" });
    assert.equal((await model.generate(question(), { maxNewTokens: 1 })).tokens.length, 1);
  });

  it("forward gives the reference's logits for a question", async () => {
    const logits = await model.forward(question());
    const { values, shape } = reference.taps.get("language.unembed.hook_out")!;
    assert.deepEqual(logits.shape, shape);
    const worst = tf.tidy(
      () =>
        logits
          .sub(tf.tensor(values, [...shape]))
          .abs()
          .max()
          .dataSync()[0],
    );
    assert.ok(worst < 1e-4);
    logits.dispose();
  });

  it("runWithCache keeps what was asked for, knows its tokens and segments, and frees it all", async () => {
    const before = counts();
    const run = await model.runWithCache(question(), {
      hooks: ["language.blocks.*.attn.hook_pattern", "projector.**"],
    });
    assert.deepEqual(run.cache.names.sort(), [
      "language.blocks.0.attn.hook_pattern",
      "language.blocks.1.attn.hook_pattern",
      "language.blocks.2.attn.hook_pattern",
      "language.blocks.3.attn.hook_pattern",
      "projector.hook_out",
    ]);
    assert.deepEqual(run.cache.get("projector.hook_out").shape, [1, 16, 32]);
    assert.deepEqual(run.grid, [4, 4]);
    assert.deepEqual(
      run.segments[0].map(({ name }) => name),
      ["image", "bos", "prefix", "newline"],
    );
    assert.throws(() => run.cache.get("vision.hook_embed"), InputError);
    run.cache.dispose();
    run.logits.dispose();
    assert.equal(counts().tensors, before.tensors);
    await assert.rejects(model.runWithCache(question(), { hooks: "nothing.*" }), InputError);
    assert.equal(counts().tensors, before.tensors);
  });

  it("several pictures belong to one prompt", async () => {
    const inputs = await model.process({ image: [image, image], prompt: "caption en" });
    assert.equal(inputs.inputIds[0].filter((id) => id === 299).length, 32);
    assert.equal(
      (await model.generate({ image: [image, image], prompt: "caption en" }, { maxNewTokens: 2 })).tokens.length,
      2,
    );
  });

  it("reports every byte of weights while loading, and stops loading when aborted", async () => {
    const before = counts();
    const seen: number[] = [];
    let total = 0;
    const controller = new AbortController();
    const other = await PaliGemma.load(tinyFolder("tiny-pg2"), {
      backend,
      onProgress: ({ loadedBytes, totalBytes }) => {
        seen.push(loadedBytes);
        total = totalBytes;
      },
    });
    assert.deepEqual(
      [...seen].sort((a, b) => a - b),
      seen,
    );
    assert.equal(seen.at(-1), total);
    other.dispose();
    const loading = PaliGemma.load(tinyFolder("tiny-pg2"), {
      backend,
      signal: controller.signal,
      onProgress: () => controller.abort(new Error("changed my mind")),
    });
    await assert.rejects(loading, { message: "changed my mind" });
    assert.equal(counts().tensors, before.tensors);
  });

  it("loads from a URL by ranges, and answers as from the folder", async () => {
    const reads = await requestsOf(tinyFolder("tiny-pg2"), async (url) => {
      const other = await PaliGemma.load(url, { backend });
      const { tokens } = await other.generate(question(), { maxNewTokens: 5 });
      assert.deepEqual(tokens, reference.greedy[0].slice(0, 5));
      assert.ok(url.startsWith(other.name));
      other.dispose();
    });
    const weights = reads.filter(({ file }) => file === "model.safetensors").map(({ bytes }) => bytes);
    const { size } = statSync(path.join(tinyFolder("tiny-pg2"), "model.safetensors"));
    assert.ok(
      weights.length > 10 && Math.max(...weights) < size / 3,
      `ranges and never the whole: ${weights} of ${size}`,
    );
  });

  it("gives up a server that does not answer when it is told to", async () => {
    const server = createServer(() => {}); // takes every request and answers none
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;
    const controller = new AbortController();
    server.once("request", () => controller.abort(new Error("too slow")));
    await assert.rejects(PaliGemma.load(url, { backend, signal: controller.signal }), { message: "too slow" });
    server.closeAllConnections();
    server.close();
  });

  it("takes a picture as a tensor, and refuses one of another shape", async () => {
    const { pixelValues } = await model.process(question());
    const picture = tf.tensor3d(pixelValues, [28, 28, 3]);
    const { tokens } = await model.generate({ image: picture, prompt: reference.prompts[0] }, { maxNewTokens: 3 });
    assert.deepEqual(tokens, reference.greedy[0].slice(0, 3));
    const flat = picture.reshape([28 * 28, 3]) as unknown as tf.Tensor3D;
    await assert.rejects(model.generate({ image: flat, prompt: "x" }), /image: expected a tensor \[height, width, 3\]/);
    tf.dispose([picture, flat]);
  });

  it("refuses a question that is none, in words", async () => {
    await assert.rejects(model.generate(undefined as never), InputError);
    await assert.rejects(model.generate({ image } as never), /prompt: expected text/);
  });

  it("stops streaming when it is disposed in between", async () => {
    const other = await PaliGemma.load(tinyFolder("tiny-pg1"), { backend });
    await assert.rejects(async () => {
      for await (const { token } of other.stream(question())) {
        assert.ok(token >= 0);
        other.dispose();
      }
    }, /disposed/);
  });

  it("refuses to work after dispose, and disposes once", async () => {
    const other = await PaliGemma.load(tinyFolder("tiny-pg1"), { backend });
    other.dispose();
    other.dispose();
    await assert.rejects(other.generate(question()), /disposed/);
  });
});
