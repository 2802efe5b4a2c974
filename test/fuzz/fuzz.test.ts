import { useBackend } from "../../src/backends/backend.js";
import { attack, runsOf } from "./fuzz.js";
import { TARGETS } from "./targets/index.js";

/** Cases of `npm test`; the long suite has twenty times as many. */
const CASES = 5000;

describe(`${CASES} damaged inputs are refused with an error of ours or read rightly:`, () => {
  before(() => useBackend("cpu")); // names of tensors are found by building the layers
  const runs = runsOf(TARGETS, CASES);
  TARGETS.forEach((target, i) => it(`${target.name} (${runs[i]})`, () => attack(target, runs[i])));
});
