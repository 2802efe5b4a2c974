import { useBackend } from "../../src/backends/backend.js";
import { attack, runsOf } from "./fuzz.js";
import { TARGETS } from "./targets/index.js";

const CASES = 100_000;

describe(`${CASES} damaged inputs are refused with an error of ours or read rightly:`, () => {
  before(() => useBackend("cpu")); // names of tensors are found by building the layers
  const runs = runsOf(TARGETS, CASES);
  TARGETS.forEach((target, i) => it(`${target.name} (${runs[i]})`, () => attack(target, runs[i])));
});
