import { strict as assert } from "node:assert";
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";

import { cli } from "../../support/run-cli.js";

describe("a file that has no end", () => {
  let folder: string;
  let pipe: string;
  const picture = path.resolve("test/heldout/0001.png");
  before(() => {
    folder = mkdtempSync(path.join(tmpdir(), "endless-"));
    pipe = path.join(folder, "pipe");
    execFileSync("mkfifo", [pipe]);
    for (const name of ["run.npz", "run.npy", "run.json", "run.safetensors", "mask.npz"]) {
      execFileSync("mkfifo", [path.join(folder, name)]);
    }
    writeFileSync(path.join(folder, "whole.json"), "[]");
  });
  after(() => rmSync(folder, { recursive: true }));

  const at = (name: string) => path.join(folder, name);
  const refusals: [what: string, args: () => string[], expected: RegExp][] = [
    ["a picture that is a device", () => ["generate", "/dev/zero", "--prompt", "x"], /\/dev\/zero: this is a device/],
    ["a picture that is a pipe", () => ["detect", pipe, "star"], /pipe: this is a pipe, not an image file/],
    ["a picture of lens", () => ["lens", pipe, "--prompt", "x"], /pipe: this is a pipe/],
    [
      "prompts from a device",
      () => ["generate", picture, "--prompts", "/dev/zero"],
      /\/dev\/zero: expected a text file with one prompt on each line, received a device; save it/,
    ],
    ["prompts from a pipe", () => ["generate", picture, "--prompts", pipe], /pipe: expected a text file .* a pipe/],
    [
      "edits from a pipe",
      () => ["lens", picture, "--prompt", "x", "--edits", pipe],
      /--edits .*pipe: expected a JSON file, received a pipe/,
    ],
    [
      "edits from a device",
      () => ["lens", picture, "--prompt", "x", "--edits", "/dev/urandom"],
      /--edits \/dev\/urandom: expected a JSON file, received a device/,
    ],
    ...["run.npz", "run.npy", "run.json", "run.safetensors"].map((name): (typeof refusals)[number] => [
      `${name} to diff`,
      () => ["diff", at(name), at(name)],
      new RegExp(`${name}: expected a file, found a pipe`),
    ]),
    [
      "the questions of a batch",
      () => ["batch", "--input", pipe, "--out", at("out.jsonl")],
      /pipe: expected a regular file/,
    ],
    ["a model", () => ["info", "--model", pipe], /pipe: expected a model folder, found a (file|pipe)/],
    [
      "an adapter",
      () => ["generate", picture, "--prompt", "x", "--backend", "cpu", "--adapter", pipe],
      /pipe: expected a model folder/,
    ],
  ];
  for (const [what, args, expected] of refusals) {
    it(`is refused for what it is: ${what}`, async () => {
      const { code, stderr } = await cli(...args());
      assert.equal(code, 1);
      assert.match(stderr, expected);
      assert.match(stderr, /^(.*\n)?error: .*\n$/);
    }).timeout(10_000);
  }
});
