import { strict as assert } from "node:assert";
import { readFileSync } from "node:fs";
import path from "node:path";

import { useBackend } from "../../../src/backends/backend.js";
import { loadConfig } from "../../../src/loading/load-network.js";
import { expectedTensors } from "../../../src/model/model.js";
import { parseAdapterConfig } from "../../../weights/adapter/config.js";
import { adaptableModules, type AdaptableModule } from "../../../weights/adapter/modules.js";
import { MatchBudget } from "../../../weights/adapter/match-budget.js";
import { fromPython, matchStarts } from "../../../weights/adapter/python-regex.js";
import { spell, SPELLINGS } from "../../../weights/adapter/spelling.js";
import { targetsOf } from "../../../weights/adapter/targets.js";
import { WeightsError } from "../../../weights/errors.js";
import { canonicalName } from "../../../weights/names.js";
import { openFolder } from "../../../weights/source.js";
import { fixtures } from "../../parity/reference.js";
import { tinyFolder } from "../../support/tiny.js";

type Case = { config: object; spelling: string; targets: [name: string, rank: number, scale: number][] };

describe("the modules that an adapter's config means", () => {
  const file = path.join(fixtures, "adapters", "matching.json");
  const { cases } = JSON.parse(readFileSync(file, "utf8")) as { cases: Case[] };
  let modules: AdaptableModule[];
  before(async () => {
    await useBackend("cpu");
    modules = adaptableModules(expectedTensors(await loadConfig(await openFolder(tinyFolder("tiny-pg2")))));
  });

  for (const { config, spelling: name, targets } of cases) {
    it(`are those that PEFT finds in ${name}: ${JSON.stringify(config)}`, () => {
      const spelling = SPELLINGS.find((one) => one.name === name)!;
      const spelled = modules.map((module) => ({ ...module, spelled: spell(module.path, spelling)! }));
      const parsed = parseAdapterConfig({ peft_type: "LORA", ...config }, "test");
      const found = targetsOf(spelled, parsed, { where: "test", budget: new MatchBudget() }).map(
        ({ spelled, rank, scale }) => [spelled, rank, scale],
      );
      assert.deepEqual(found.sort(), targets.sort());
    });
  }

  it("every spelling's names are canonical names to the reader of weights", () => {
    const names = modules.map(({ path }) => `${path}.weight`);
    const heldTwice = /^model\.model\./; // no such class is known
    for (const spelling of SPELLINGS) {
      for (const name of names) {
        const spelled = spell(name, spelling)!;
        if (heldTwice.test(spelled) || spelled === "model.lm_head.weight") continue;
        assert.equal(canonicalName(`base_model.model.${spelled}`), name, `${spelling.name}: ${spelled}`);
      }
    }
  });
});

describe("regular expressions of Python", () => {
  it("are read where both languages have the same, and translated where they write it otherwise", () => {
    for (const [python, ours] of [
      [String.raw`\Aa{,3}\Z`, "^a{0,3}$"],
      ["(?P<x>a)[]b][^]c]", String.raw`(a)[\]b][^\]c]`],
      [String.raw`(?:a|b)(?=c)(?!d)(?<=e)(?<!f)\.\d\_\-`, String.raw`(?:a|b)(?=c)(?!d)(?<=e)(?<!f)\.\d\_\-`],
      [String.raw`[\]\\[]x{2}{a`, String.raw`[\]\\[]x{2}{a`],
    ]) {
      assert.equal(fromPython(python, "here"), ours);
    }
  });

  it("are refused where JavaScript would take them for something else", () => {
    for (const python of ["(?i)a", "(?i:a)", "(?>a)", "(?#a)b", "(a)(?(1)b|c)", String.raw`(a)\1`, "(?P<x>a)(?P=x)"]) {
      assert.throws(() => fromPython(python, "here"), WeightsError, python);
    }
    for (const python of [
      String.raw`\N{DASH}`,
      String.raw`\Ua`,
      String.raw`\ya`,
      "a++",
      "a{2}+",
      "(a",
      "a)",
      "[a",
      "*",
      "\\",
    ]) {
      assert.throws(() => fromPython(python, "here"), WeightsError, python);
    }
    assert.throws(() => fromPython("a".repeat(200_001), "here"), /too long/);
  });

  it("that would take for ever are stopped", () => {
    const patterns = [{ source: "(a+)+$", where: "there" }];
    assert.throws(
      () => matchStarts(patterns, [`${"a".repeat(80)}b`], new MatchBudget(50)),
      /^WeightsError: there: .*seconds/,
    );
  });

  it("share the time of an adapter, whatever field they stand in", () => {
    const budget = new MatchBudget(300);
    const slow = { source: "(a+)+$", where: "there" };
    const names = [`${"a".repeat(22)}b`];
    const start = performance.now();
    const repeated = (): void => {
      for (;;) matchStarts([slow], names, budget);
    };
    assert.throws(repeated, /^WeightsError: there: its names and regular expressions take more than 0\.3 seconds/);
    assert.throws(
      () => matchStarts([{ source: "a", where: "here" }], ["a"], budget),
      /^WeightsError: here: .*0\.3 sec/,
    );
    assert.ok(performance.now() - start < 2000);
  });

  it("and names share the size of an adapter", () => {
    const base = { peft_type: "LORA", target_modules: ["q_proj"] };
    const names = (count: number, length = 1) => Array.from({ length: count }, (_, i) => `${i}`.padEnd(length, "x"));
    const parse = (more: object) => () => parseAdapterConfig({ ...base, ...more }, "file");
    parse({ modules_to_save: names(2000), exclude_modules: names(2095) })();
    const expected =
      /^WeightsError: file: \w+: expected at most 4096 entries and 400000 characters in all lists together/;
    assert.throws(parse({ modules_to_save: names(2000), exclude_modules: names(2096) }), expected);
    assert.throws(parse({ modules_to_save: names(1e6) }), expected);
    assert.throws(parse({ rank_pattern: Object.fromEntries(names(5000).map((name) => [`${name}x`, 1])) }), expected);
    assert.throws(parse({ layers_to_transform: Array.from({ length: 5000 }, (_, i) => i) }), expected);
    assert.throws(parse({ layers_pattern: names(40, 20_000), layers_to_transform: [0] }), expected);
  });

  it("that are too large for the engine, which is seen at the first name, are refused by the field", () => {
    const patterns = [{ source: "[a]".repeat(66_000), where: "there" }];
    assert.throws(() => matchStarts(patterns, ["a"]), /^WeightsError: there: its regular expressions cannot be used/);
  });

  it("match at the start alone, and give the last group", () => {
    const found = matchStarts([{ source: String.raw`(x)?.(\d)`, where: "" }], ["a1", "xa2", "ba1", "a"]);
    assert.deepEqual(found, [["1", "2", null, null]]);
  });
});
