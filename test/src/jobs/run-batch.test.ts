import assert from "node:assert/strict";
import { existsSync, readdirSync, readFileSync, readlinkSync, truncateSync, writeFileSync } from "node:fs";
import path from "node:path";
import { pathToFileURL } from "node:url";

import fc from "fast-check";

import type { BatchResult } from "../../../src/jobs/batch-result.js";
import { type RunBatchOptions, runBatch } from "../../../src/jobs/run-batch.js";
import { InputError } from "../../../src/base/errors.js";
import { PaliGemma } from "../../../src/paligemma.js";
import { heldoutFolder } from "../../heldout/heldout.js";
import { counts, longOnCpu, onEachBackend } from "../../support/backends.js";
import { echo, readAnswers, sameAnswers, scratchFolder, writeLines } from "../../support/batch-files.js";

type Question = { id: string; image: string | string[]; prompt: string };
const questions = (count: number, prompt = (i: number) => `prompt ${i}`): Question[] =>
  Array.from({ length: count }, (_, i) => ({ id: `q${i}`, image: "x.png", prompt: prompt(i) }));
const idsOf = (answers: readonly BatchResult[]) => answers.map(({ id }) => id);

describe("a batch", () => {
  const scratch = scratchFolder();
  let number = 0;
  /** Files for one run, which nothing else uses. */
  const files = (lines: readonly unknown[]): Pick<RunBatchOptions, "input" | "out"> => {
    const [input, out] = [scratch(`in-${++number}.jsonl`), scratch(`out-${number}.jsonl`)];
    writeLines(input, lines);
    return { input, out };
  };

  it("answers every line once, in groups, and leaves no lock behind", async () => {
    const { model, asked } = echo();
    const run = files(questions(7));
    const summary = await runBatch(model, { ...run, batchSize: 3 });
    assert.deepEqual(summary, { lines: 7, skipped: 0, answered: 7, errors: 0, out: run.out });
    assert.deepEqual(
      asked.map((group) => group.length),
      [3, 3, 1],
    );
    const [first] = readAnswers(run.out);
    assert.deepEqual(first, {
      id: "q0",
      prompt: "prompt 0",
      text: "prompt 0",
      finishReason: "eos",
      promptTokens: 8,
      tokens: [1],
    });
    assert.deepEqual(idsOf(readAnswers(run.out)).sort(), idsOf(questions(7) as unknown as BatchResult[]));
    assert.ok(!existsSync(`${run.out}.lock`));
  });

  it("closes its files, however it ends", async function () {
    if (!existsSync("/proc/self/fd")) this.skip();
    const run = files(questions(2));
    const open = () => readdirSync("/proc/self/fd").map((name) => readlink(`/proc/self/fd/${name}`));
    await runBatch(echo().model, run);
    await assert.rejects(
      runBatch(() => assert.fail("loaded"), { ...run, out: `${run.out}.other` }),
      /loaded/,
    );
    assert.deepEqual(
      open().filter((file) => file.startsWith(scratch())),
      [],
    );
  });

  it("hands its limit and its signal to the model, and a whole group at once", async () => {
    const { model, options } = echo();
    const { signal } = new AbortController();
    await runBatch(model, { ...files(questions(3)), batchSize: 5, maxNewTokens: 7, signal });
    assert.deepEqual(options, [{ maxNewTokens: 7, signal, batchSize: 3, logProbabilities: true }]);
  });

  it("reads the pictures of the next group while one is computed", async () => {
    const { model } = echo();
    let seen = () => {};
    const next = new Promise<void>((resolve) => (seen = resolve));
    const readPicture: typeof model.processor.readPicture = (file, label) => {
      if (path.basename(file as string) === "1.png") seen();
      return model.processor.readPicture(file, label);
    };
    const slow = {
      ...model,
      processor: { ...model.processor, readPicture },
      generateBatch: async (...args: Parameters<typeof model.generateBatch>) => {
        await next; // for ever, were the pictures read in turn
        return model.generateBatch(...args);
      },
    } as typeof model;
    const lines = questions(2).map((line, i) => ({ ...line, image: `${i}.png` }));
    assert.equal((await runBatch(slow, { ...files(lines), batchSize: 1 })).answered, 2);
  });

  it("writes nothing more once another process has taken its lock", async () => {
    const run = files(questions(4));
    const { model } = echo({
      refuse: (prompts) => prompts.includes("prompt 2") && writeFileSync(`${run.out}.lock`, "{}"),
    });
    await assert.rejects(runBatch(model, { ...run, batchSize: 2 }), {
      name: "InputError",
      message: /has taken its lock/,
    });
    assert.deepEqual(idsOf(readAnswers(run.out)), ["q0", "q1"]);
  });

  it("in shards gives the lines of one run, each in exactly one file", async () => {
    const ids = fc.uniqueArray(fc.string({ unit: "binary", minLength: 1, maxLength: 9 }), { maxLength: 40 });
    await fc.assert(
      fc.asyncProperty(
        ids,
        fc.integer({ min: 1, max: 5 }),
        fc.integer({ min: 1, max: 4 }),
        async (ids, count, batchSize) => {
          const run = files(ids.map((id) => ({ id, image: "x", prompt: "x".repeat(id.length) })));
          const { model } = echo();
          const answers: BatchResult[] = [];
          for (let index = 0; index < count; index++) {
            const { out, lines } = await runBatch(model, { ...run, shard: { index, count }, batchSize });
            const own = readAnswers(out);
            assert.equal(own.length, lines);
            answers.push(...own);
          }
          const { out } = await runBatch(model, { ...run, out: `${run.out}.whole`, batchSize: 3 });
          sameAnswers(answers, readAnswers(out));
          assert.equal(answers.length, ids.length);
        },
      ),
      { numRuns: 15 },
    );
  });

  it("cut at any byte of its last line and run again, it has the same lines, none of them twice", async () => {
    const run = files(questions(5, (i) => `größe ${i}`));
    await runBatch(echo().model, { ...run, batchSize: 2 });
    const whole = readFileSync(run.out);
    const expected = readAnswers(run.out);
    for (let size = whole.lastIndexOf(10, -2) + 1; size < whole.length; size++) {
      writeFileSync(run.out, whole.subarray(0, size));
      const { model, asked } = echo();
      const summary = await runBatch(model, { ...run, batchSize: 2 });
      assert.deepEqual([summary.skipped, summary.answered, asked.length], [4, 1, 1]);
      sameAnswers(readAnswers(run.out), expected, `cut to ${size}`);
    }
  });

  it("that was killed behind any line goes on with those that are left", async () => {
    const run = files(questions(6));
    await runBatch(echo().model, run);
    const whole = readFileSync(run.out);
    const expected = readAnswers(run.out);
    for (let size = 0; size >= 0; size = whole.indexOf(10, size) + 1) {
      if (size === whole.length) break;
      writeFileSync(run.out, whole.subarray(0, size));
      await runBatch(echo().model, { ...run, batchSize: 4 });
      sameAnswers(readAnswers(run.out), expected, `killed at ${size}`);
    }
  });

  it("that is done loads no model; one that is not loads it once", async () => {
    const run = files(questions(3));
    let loads = 0;
    const load = async () => {
      loads++;
      return echo().model;
    };
    await runBatch(load, { ...run, batchSize: 1 });
    assert.equal(loads, 1);
    const again = await runBatch(load, run);
    assert.deepEqual([again.skipped, again.answered, loads], [3, 0, 1]);
  });

  it("gives a line that cannot be asked an error of its own, with its path as written, and goes on", async () => {
    const { model } = echo({ context: 30 });
    const real = await PaliGemma.load(undefined, { backend: "cpu" });
    try {
      const heldout = path.join(heldoutFolder, "0002.png");
      const run = files([
        { id: "right", image: heldout, prompt: "p" },
        { id: "absent", image: "absent.png", prompt: "p" },
        { id: "folder", image: ".", prompt: "p" },
        { id: "device", image: "/dev/zero", prompt: "p" },
        { id: "nul", image: "a\0b", prompt: "p" },
        { id: "data", image: `data:image/png;base64,${readFileSync(heldout).toString("base64")}`, prompt: "p" },
        { id: "file", image: pathToFileURL(heldout).href, prompt: "p" },
        { id: "device address", image: "file:///dev/zero", prompt: "p" },
        { id: "http", image: "https://localhost:1/cat.png", prompt: "p" },
        { id: "second", image: [path.join(heldoutFolder, "0002.png"), "in.txt"], prompt: "p" },
        { id: "long", image: "x", prompt: "x".repeat(31) },
        { id: "many", image: new Array(100_000).fill("x"), prompt: "p" },
        "no JSON",
      ]);
      writeFileSync(scratch("in.txt"), "text");
      const processor = { ...model.processor, readPicture: real.processor.readPicture.bind(real.processor) };
      const summary = await runBatch({ ...model, processor } as typeof model, run);
      assert.deepEqual([summary.answered, summary.errors], [3, 10]);
      const messages = readAnswers(run.out).map((one) => ["error" in one ? one.error.message : "", one.id]);
      const byId = Object.fromEntries(messages.map(([message, id]) => [id, message]));
      assert.equal(byId.right, "");
      assert.equal(byId.absent, "absent.png: there is no such image file; check the path");
      assert.equal(byId.folder, ".: this is a folder, not an image file; name a file in it");
      assert.equal(
        byId.device,
        "/dev/zero: this is a device, not an image file; save it as a regular file and name that",
      );
      assert.deepEqual([byId.data, byId.file], ["", ""]);
      assert.match(byId["device address"]!, /^file:\/\/\/dev\/zero: this is a device, not an image file/);
      assert.match(byId.http!, /^https:\/\/localhost:1\/cat\.png: pictures are not fetched/);
      assert.match(byId.nul!, /^a\0b: this is no path of an image file/);
      assert.match(byId.second!, /^in\.txt: this is a text file, which is not read as a picture/);
      assert.match(byId.long!, /^prompt: expected at most 30 tokens, those of the pictures included, received 31$/);
      assert.match(byId.many!, /^prompt: expected at most 30 tokens, .* received 400000$/);
      assert.match(byId["13"]!, /^line: expected a JSON object/);
      assert.ok(readAnswers(run.out).every((one) => !("error" in one) || one.error.name === "InputError"));
    } finally {
      real.dispose();
    }
  });

  it("whose group is refused asks its lines one by one, and only the wrong ones fail", async () => {
    const { model, asked } = echo({
      refuse: (prompts) => {
        if (prompts.includes("prompt 1")) throw new InputError("not that one");
      },
    });
    const run = files(questions(5));
    const summary = await runBatch(model, { ...run, batchSize: 3 });
    assert.deepEqual([summary.answered, summary.errors], [4, 1]);
    assert.deepEqual(
      asked.map((group) => group.length),
      [3, 1, 1, 1, 2],
    );
    const failed = readAnswers(run.out).filter((one) => "error" in one);
    assert.deepEqual(failed, [{ id: "q1", error: { name: "InputError", message: "not that one" } }]);
  });

  it("ends where something other than a line is at fault, with what was answered before", async () => {
    const broken = echo({
      refuse: (prompts) => {
        if (prompts.includes("prompt 4")) throw new Error("device lost");
      },
    });
    const run = files(questions(6));
    await assert.rejects(runBatch(broken.model, { ...run, batchSize: 2 }), /device lost/);
    assert.deepEqual(idsOf(readAnswers(run.out)), ["q0", "q1", "q2", "q3"]);
    assert.ok(!existsSync(`${run.out}.lock`));
    const summary = await runBatch(echo().model, run);
    assert.deepEqual([summary.skipped, summary.answered], [4, 2]);
  });

  it("ends where the file system is out of order: the picture may be right", async function () {
    if (!existsSync("/proc/self/mem")) this.skip(); // reading it gives EIO
    const { model } = echo();
    const { readPicture } = await demoProcessor();
    const run = files([{ id: "a", image: "/proc/self/mem", prompt: "p" }]);
    const processor = { ...model.processor, readPicture };
    await assert.rejects(runBatch({ ...model, processor } as typeof model, run), /EIO/);
    assert.deepEqual(readAnswers(run.out), []);
  });

  it("ends between groups when it is told to, with what was answered before", async () => {
    const controller = new AbortController();
    const { model } = echo({
      refuse: (prompts) => prompts.includes("prompt 2") && controller.abort(new Error("enough")),
    });
    const run = { ...files(questions(9)), batchSize: 2 };
    await assert.rejects(runBatch(model, { ...run, signal: controller.signal }), /enough/);
    assert.deepEqual(idsOf(readAnswers(run.out)), ["q0", "q1", "q2", "q3"]);
    assert.ok(!existsSync(`${run.out}.lock`));
    assert.equal((await runBatch(echo().model, run)).answered, 5);
  });

  it("with an id that two lines have asks nothing and names both, whichever shard is theirs", async () => {
    const nothing = () => assert.fail("loaded");
    for (const [lines, message] of [
      [[...questions(3), { id: "q1", image: "y", prompt: "other" }], /lines 2 and 4 have the id "q1"; give each line/],
      [
        [
          { id: "2", image: "x", prompt: "p" },
          { image: "x", prompt: "q" },
        ],
        /lines 1 and 2 have the id "2"/,
      ],
      [["", "no JSON", { id: 2, image: "x", prompt: "p" }], /lines 2 and 3 have the id "2"/],
    ] as const) {
      for (const index of [0, 1]) {
        const run = files(lines);
        await assert.rejects(runBatch(nothing, { ...run, shard: { index, count: 2 } }), {
          name: "InputError",
          message,
        });
      }
    }
  });

  it("does not take answers to other questions for its own", async () => {
    const run = files([
      { image: "x", prompt: "first" },
      { image: "x", prompt: "second" },
    ]);
    await runBatch(echo().model, run);
    writeLines(run.input, [
      { image: "x", prompt: "new" },
      { image: "x", prompt: "first" },
    ]);
    await assert.rejects(
      runBatch(() => assert.fail("loaded"), run),
      {
        name: "InputError",
        message: /line 1, "1", is not the question that its answer is to; give another --out/,
      },
    );
  });

  it("takes lines that were added to its input", async () => {
    const run = files(questions(2));
    await runBatch(echo().model, run);
    writeLines(run.input, questions(5));
    const summary = await runBatch(echo().model, run);
    assert.deepEqual([summary.lines, summary.skipped, summary.answered], [5, 2, 3]);
  });

  it("refuses, before it loads a model, what makes no run", async () => {
    const run = files(questions(1));
    const load = () => assert.fail("loaded");
    for (const [options, message] of [
      [{ ...run, out: run.input }, /expected another file than the questions .*, which would be lost/],
      [{ ...run, input: scratch("absent.jsonl") }, /absent\.jsonl: cannot be read \(ENOENT\)/],
      [{ ...run, out: path.join(run.input, "out.jsonl") }, /out\.jsonl: there is no folder/],
      [{ ...run, out: scratch("no", "out.jsonl") }, /out\.jsonl: there is no folder .*no; make it/],
      [{ ...run, batchSize: 0 }, /batchSize: expected a whole number >= 1/],
      [{ ...run, maxNewTokens: 1.5 }, /maxNewTokens: expected a whole number >= 1/],
      [{ ...run, shard: { index: 2, count: 2 } }, /shard: expected i\/N/],
    ] as const) {
      await assert.rejects(runBatch(load, options), { message });
    }
    assert.deepEqual(readFileSync(run.input, "utf8"), `${JSON.stringify(questions(1)[0])}\n`);
    assert.ok(!existsSync(scratch("no")), "a folder was made");
  });

  it("tells how far it is, and what it has cut off", async () => {
    const run = files(questions(4));
    await runBatch(echo().model, run);
    const size = readFileSync(run.out).length;
    truncateSync(run.out, size - 3);
    const seen: unknown[] = [];
    const notices: string[] = [];
    await runBatch(echo().model, {
      ...run,
      onProgress: (progress) => seen.push(progress),
      onNotice: (text) => notices.push(text),
    });
    assert.deepEqual(seen, [
      { lines: 4, skipped: 3, answered: 0, errors: 0 },
      { lines: 4, skipped: 3, answered: 1, errors: 0 },
    ]);
    assert.match(notices.join(), /out-\d+\.jsonl: an incomplete last line of \d+ bytes was cut off/);
  });

  onEachBackend(longOnCpu("of real questions"), (backend) => {
    it("gives what each question gets alone, objects in the picture's own pixels, and leaks nothing", async () => {
      const model = await PaliGemma.load(undefined, { backend });
      try {
        const [first, second] = ["0002.png", "0004.png"].map((name) => path.join(heldoutFolder, name)) as [
          string,
          string,
        ];
        const options = { maxNewTokens: 14 };
        const alone = await model.generate({ image: first, prompt: "caption en" }, options);
        const { objects } = await model.detect(second, ["circle", "star"], options);
        const run = files([
          { id: "caption", image: first, prompt: "caption en" },
          { id: "detect", image: second, prompt: "detect circle ; star" },
          { id: "detect in two", image: [second, second], prompt: "detect circle ; star" },
        ]);
        const before = counts();
        await runBatch(model, { ...run, ...options, batchSize: 2 });
        assert.deepEqual(counts(), before);
        const answers = new Map(readAnswers<Record<string, unknown>>(run.out).map((one) => [one.id, one]));
        const { text, tokens, promptTokens, finishReason } = alone;
        const written = { id: "caption", prompt: "caption en", text, finishReason, promptTokens, tokens };
        assert.deepEqual(answers.get("caption"), written);
        const found = answers.get("detect")!.objects as typeof objects;
        const places = (some: typeof objects) =>
          some.map(({ label, box, locations, codes }) => ({ label, box, locations, codes }));
        assert.equal(found.length, 2);
        assert.deepEqual(places(found), places(objects));
        found.forEach(({ score }, i) => assert.ok(Math.abs(score - objects[i]!.score) < 1e-4));
        assert.ok(!("objects" in answers.get("detect in two")!));
      } finally {
        model.dispose();
      }
    });
  });
});

function readlink(file: string): string {
  try {
    return readlinkSync(file);
  } catch {
    return ""; // closed meanwhile
  }
}

async function demoProcessor(): Promise<Pick<PaliGemma["processor"], "readPicture">> {
  const model = await PaliGemma.load(undefined, { backend: "cpu" });
  model.dispose();
  return { readPicture: model.processor.readPicture.bind(model.processor) };
}
