import assert from "node:assert/strict";
import {
  cpSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { createHash } from "node:crypto";
import os from "node:os";
import path from "node:path";

import { roleOf } from "../../../src/cli/declared-files.js";
import { commandLine } from "../../../src/cli/program.js";
import { demoCheckpoint } from "../../../src/base/demo-checkpoint.js";
import { heldoutFolder } from "../../heldout/heldout.js";
import { writeDemoAdapter } from "../../support/demo-adapter.js";
import { cli } from "../../support/run-cli.js";

/** What kind of place an option or argument takes, by its name in the help. */
const PLACES = /<(file|dir|folder|image|image\.\.\.|in|out|a|b)>/;

describe("files of commands", () => {
  let scratch: string;
  const at = (...names: string[]): string => path.join(scratch, ...names);
  before(async () => {
    scratch = mkdtempSync(path.join(os.tmpdir(), "paligemma-files-"));
    cpSync(demoCheckpoint(), at("model"), { recursive: true });
    symlinkSync("model", at("linked-model"));
    for (const name of ["photo.png", "masks/labels.png", "masks/2.png", "second.png"]) {
      mkdirSync(path.dirname(at(name)), { recursive: true });
      cpSync(path.join(heldoutFolder, "0014.png"), at(name));
    }
    symlinkSync("photo.png", at("link.png"));
    linkSync(at("photo.png"), at("hard.png"));
    writeFileSync(at("edits.json"), "[]");
    writeFileSync(at("questions.jsonl"), `${JSON.stringify({ image: "photo.png", prompt: "caption en" })}\n`);
    writeFileSync(at("answers.00000-of-00002.jsonl"), `${JSON.stringify({ image: "photo.png", prompt: "ocr" })}\n`);
    await writeDemoAdapter(at("adapter"), 1);
    await writeDemoAdapter(at("based"), 2);
    const based = JSON.parse(readFileSync(at("based", "adapter_config.json"), "utf8")) as object;
    writeFileSync(
      at("based", "adapter_config.json"),
      JSON.stringify({ ...based, base_model_name_or_path: at("model") }),
    );
    linkSync(at("model", "vae.safetensors"), at("codes.safetensors"));
  });
  after(() => rmSync(scratch, { recursive: true, force: true }));

  /** Every file with its bytes. */
  const state = (): Record<string, string> =>
    Object.fromEntries(
      readdirSync(scratch, { recursive: true, withFileTypes: true })
        .filter((entry) => entry.isFile())
        .map((entry) => path.join(entry.parentPath, entry.name))
        .map((file) => [file, createHash("sha256").update(readFileSync(file)).digest("hex")]),
    );

  it("every option and argument that takes a place says whether it is read or written", () => {
    const { commands } = commandLine();
    const declared = commands.flatMap(({ options, registeredArguments }) => [...options, ...registeredArguments]);
    const places = declared.filter((one) => PLACES.test("flags" in one ? one.flags : `<${one.name()}>`));
    assert.ok(places.length > 60, String(places.length));
    for (const one of places) assert.notEqual(roleOf(one), null, "flags" in one ? one.flags : one.name());
    const outputs = places.filter((one) => roleOf(one) === "writes");
    assert.equal(outputs.length, 10, "commands that write: look whether the cases below have each");
  });

  const RUN = ["--prompt", "caption en", "--backend", "wasm"];
  const MODEL = ["--model", "MODEL"];
  const HOOKS = ["--hooks", "language.blocks.0.hook_resid_post"];
  const cases: [what: string, args: string[], named: RegExp][] = [
    ["detect over its picture", ["detect", "photo.png", "star", "--out", "photo.png"], /--out .* <image> /],
    ["detect over its picture's link", ["detect", "photo.png", "star", "--out", "link.png"], /--out .* <image> /],
    ["detect over what its link leads to", ["detect", "link.png", "star", "--out", "photo.png"], /--out .* <image> /],
    ["segment over its picture's other name", ["segment", "photo.png", "star", "--out", "hard.png"], /<image> /],
    ["masks over the picture", ["segment", "masks/labels.png", "star", "--masks", "masks"], /--masks .* <image> /],
    ["masks over the n-th picture", ["segment", "masks/2.png", "star", "--masks", "masks"], /--masks .* <image> /],
    [
      "masks over the drawing",
      ["segment", "photo.png", "star", "--out", "new/1.png", "--masks", "new"],
      /--masks .* --out /,
    ],
    ["lens over its second picture", ["lens", "photo.png", "second.png", ...RUN, "--out", "second.png"], /<image> /],
    ["attention over its picture", ["attention", "photo.png", ...RUN, "--out", "photo.png"], /<image> /],
    [
      "a run over the edits",
      ["inspect", "photo.png", ...RUN, ...HOOKS, "--edits", "edits.json", "--out", "edits.json"],
      /--out .* --edits /,
    ],
    [
      "a run with a format over the edits",
      ["inspect", "photo.png", ...RUN, ...HOOKS, "--edits", "edits.json", "--out", "edits", "--format", "json"],
      /--out .* --edits /,
    ],
    [
      "a run over the weights",
      ["inspect", "photo.png", ...RUN, ...HOOKS, ...MODEL, "--out", "model/model.safetensors"],
      /--out .* --model /,
    ],
    [
      "a run over the config",
      ["inspect", "photo.png", ...RUN, ...HOOKS, ...MODEL, "--out", "linked-model/config.json"],
      /--out .* --model /,
    ],
    [
      "a run over a linked model's tokenizer",
      ["inspect", "photo.png", ...RUN, ...HOOKS, "--model", "linked-model", "--out", "model/tokenizer.json"],
      /--out .* --model /,
    ],
    [
      "a run over the tokenizer",
      ["inspect", "photo.png", ...RUN, ...HOOKS, "--tokenizer", "model", "--out", "model/tokenizer.json"],
      /--out .* --tokenizer /,
    ],
    [
      "a run over the masks' weights, by another name",
      ["inspect", "photo.png", ...RUN, ...HOOKS, ...MODEL, "--out", "codes.safetensors"],
      /--out .* --model /,
    ],
    [
      "a run over the adapter",
      ["inspect", "photo.png", ...RUN, ...HOOKS, "--adapter", "adapter", "--out", "adapter/adapter_model.safetensors"],
      /--out .* --adapter /,
    ],
    [
      "a run over the second adapter's config",
      [
        "inspect",
        "photo.png",
        ...RUN,
        ...HOOKS,
        "--adapter",
        "model",
        "--adapter",
        "adapter",
        "--out",
        "adapter/adapter_config.json",
      ],
      /--out .* --adapter /,
    ],
    [
      "a run over the base of the adapter that is given as a model",
      ["inspect", "photo.png", ...RUN, ...HOOKS, "--model", "based", "--out", "model/tokenizer.json"],
      /--out .* --model /,
    ],
    [
      "answers over the questions",
      ["batch", "--input", "questions.jsonl", "--out", "questions.jsonl"],
      /--out .* --input /,
    ],
    [
      "a shard's answers over the questions",
      ["batch", "--input", "answers.00000-of-00002.jsonl", "--out", "answers.jsonl", "--shard", "0/2"],
      /--out .*00000-of-00002.* --input /,
    ],
    ["a model over itself", ["convert", "model", "linked-model", "--overwrite"], /<out> .* <in> /],
    [
      "a model over the folder of its file",
      ["convert", "model/model.safetensors", "model", "--overwrite"],
      /<out> .* <in> /,
    ],
    [
      "a model over its tokenizer",
      ["convert", "adapter", "model", "--tokenizer", "linked-model", "--overwrite"],
      /<out> .* --tokenizer /,
    ],
  ];
  for (const [what, args, named] of cases) {
    it(`${what}: refused before anything is computed, and nothing is touched`, async () => {
      mkdirSync(at("new"), { recursive: true });
      const before = state();
      const paths = args.map((arg) =>
        arg === "MODEL"
          ? at("model")
          : /^(photo|link|hard|second|masks|model|linked|edits|adapter|based|questions|answers|codes|new)/.test(arg)
            ? at(arg)
            : arg,
      );
      const { code, stdout, stderr } = await cli(...paths);
      assert.deepEqual([code, stdout], [1, ""], stderr);
      assert.match(stderr, /^error: .*: expected another file than .*, which would be lost; name another place\n$/);
      assert.match(stderr, named);
      assert.deepEqual(state(), before);
    });
  }

  it("a model of the Hub is protected where it lies in the cache", async () => {
    const snapshot = at("hub", "models--some--model", "snapshots", "0".repeat(40));
    mkdirSync(snapshot, { recursive: true });
    symlinkSync(at("model", "config.json"), path.join(snapshot, "config.json"));
    const [home, before] = [process.env.HF_HUB_CACHE, state()];
    process.env.HF_HUB_CACHE = at("hub");
    try {
      const args = ["inspect", at("photo.png"), ...RUN, ...HOOKS, "--model", "some/model"];
      const { code, stderr } = await cli(...args, "--out", at("model", "config.json"));
      assert.equal(code, 1);
      assert.match(stderr, /--out .* --model .*snapshots.*config\.json, which would be lost/);
      assert.deepEqual(state(), before);
    } finally {
      if (home === undefined) delete process.env.HF_HUB_CACHE;
      else process.env.HF_HUB_CACHE = home;
    }
  });

  it("beside its inputs, and over an earlier output, a command writes", async () => {
    const out = at("model", "boxes.svg");
    for (const round of [1, 2]) {
      const { code, stderr } = await cli(
        "detect",
        at("photo.png"),
        "star",
        "--model",
        at("model"),
        "--backend",
        "wasm",
        "--max-new-tokens",
        "3",
        "--out",
        out,
      );
      assert.equal(code, 0, `${round}: ${stderr}`);
    }
    assert.match(readFileSync(out, "utf8"), /^<svg/);
    rmSync(out);
  });

  it("a drawing that is a folder, or in none, is refused before anything is computed", async () => {
    mkdirSync(at("folder.png"));
    for (const [out, message] of [
      ["folder.png", /expected a file to write, found a folder/],
      ["absent/boxes.png", /there is no folder .*absent; make it first/],
    ] as const) {
      const { code, stderr } = await cli("detect", at("photo.png"), "star", "--model", "absent", "--out", at(out));
      assert.equal(code, 1);
      assert.match(stderr, message);
    }
  });
});
