import { strict as assert } from "node:assert";

import { requireRowMemory } from "../../../src/decoding/row-memory.js";
import { InputError } from "../../../src/base/errors.js";
import { loadConfig } from "../../../src/loading/load-network.js";
import { PaliGemma } from "../../../src/paligemma.js";
import { videoFrames } from "../../../src/answering/video.js";
import { openFolder } from "../../../weights/source.js";
import { tinyFolder } from "../../support/tiny.js";

const refused = (message: RegExp) => (error: unknown) => error instanceof InputError && message.test(error.message);

describe("memory for rows", () => {
  it("counts keys and values of every layer twice, and three times the logits", async () => {
    const config = await loadConfig(await openFolder(tinyFolder("tiny-pg2")));
    const { numHiddenLayers: L, numKeyValueHeads: K, headDim: H, vocabSize: V } = config.text;
    const bytes = 2 * 5 * (2 * (4 * 2 * L * K * H * 70) + 4 * 3 * V);
    const asked = { name: "numBeams", prompts: 2, each: 5, positions: 70 };
    requireRowMemory(config, asked, bytes);
    assert.throws(() => requireRowMemory(config, asked, bytes - 1), refused(/^numBeams: .*10 rows of 70 positions/));
  });

  it("more beams, copies or tokens than any memory holds are refused before anything is made for them", async () => {
    const model = await PaliGemma.load(tinyFolder("tiny-pg2"), { backend: "cpu" });
    const question = { image: { data: new Uint8Array(12), width: 2, height: 2 }, prompt: "a" };
    await assert.rejects(model.generate(question, { numBeams: 1e9 }), refused(/^numBeams: expected what fits/));
    await assert.rejects(model.generate(question, { bestOf: 1e12, temperature: 1 }), refused(/^bestOf: expected what/));
    const { tokens } = await model.generate(question, {
      maxNewTokens: 1e9,
      forcedPrefix: [model.config.eosTokenIds[0]],
    });
    assert.equal(tokens.length, 1);
    const answers = await model.generateBatch([question, question], { batchSize: 1e9, maxNewTokens: 1 });
    assert.equal(answers.length, 2);
    model.dispose();
  });

  it("more frames of a video than a model has room for are refused", async () => {
    const frame = { data: new Uint8Array(3), width: 1, height: 1 };
    assert.equal((await videoFrames([frame], 1024)).length, 1024);
    await assert.rejects(videoFrames([frame], 1025), refused(/^frames: expected at most 1024, received 1025/));
    await assert.rejects(videoFrames([frame], 1e9), refused(/^frames: expected at most 1024/));
  });
});
