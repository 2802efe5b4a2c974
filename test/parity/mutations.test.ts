import { strict as assert } from "node:assert";
import path from "node:path";

import { useBackend } from "../../src/backends/backend.js";
import type { decode } from "../../src/decoding/decode.js";
import type { loadConfig, loadNetwork } from "../../src/loading/load-network.js";
import type { PaliGemmaModel } from "../../src/model/model.js";
import { openFolder } from "../../weights/source.js";
import { plant, removeMutants } from "../support/mutant.js";
import { type Mutation, mutations } from "./mutations.js";
import { fixtures, readReference } from "./reference.js";
import { compareHooks, greedyIds, TOLERANCE } from "./run.js";

type Network = { loadConfig: typeof loadConfig; loadNetwork: typeof loadNetwork; decode: typeof decode };

/** The network of a copy of the source with the mistake planted. */
async function mutant(mutation: Mutation, id: string): Promise<Network> {
  const load = plant(mutation, id);
  return { ...(await load<Network>("loading/load-network.ts")), ...(await load<Network>("decoding/decode.ts")) };
}

/** What gives the mutant away, or null when it passes for the real thing. A mutant that crashes is no catch. */
async function difference({ reference: name, shows }: Mutation, network: Network): Promise<string | null> {
  const folder = await openFolder(path.join(fixtures, "models", name.split("/")[0]));
  const reference = await readReference(path.join(fixtures, "references", name));
  const config = await network.loadConfig(folder);
  let model: PaliGemmaModel;
  try {
    model = await network.loadNetwork(folder, config);
  } catch (error) {
    if ((error as Error).name !== "WeightsError") throw error;
    return `refused while loading: ${(error as Error).message.split("\n")[0]}`;
  }
  try {
    if (shows === "greedy") {
      const ids = await greedyIds(model, reference, network.decode);
      return JSON.stringify(ids) === JSON.stringify(reference.greedy) ? null : "other tokens";
    }
    const { hooks } = compareHooks(model, reference);
    const worst = hooks.reduce((a, b) => (b.scaled > a.scaled ? b : a));
    const first = hooks.find(({ scaled }) => !(scaled <= TOLERANCE));
    return first ? `first ${first.name}, worst ${worst.name} ${worst.scaled.toExponential(1)}` : null;
  } finally {
    model.dispose();
  }
}

describe("a planted mistake is caught", () => {
  before(() => useBackend("cpu"));
  after(removeMutants);

  it("and the source without one passes the same comparison", async () => {
    const unchanged = { file: "layers/softcap.ts", find: "tanh()", replace: "tanh()" };
    const genuine = { name: "", ...unchanged, reference: "tiny-pg2/suffix", shows: "hooks" as const };
    assert.equal(await difference(genuine, await mutant(genuine, "genuine")), null);
    assert.equal(await difference({ ...genuine, shows: "greedy" }, await mutant(genuine, "genuine")), null);
  });

  mutations.forEach((mutation, i) => {
    it(mutation.name, async () => {
      const found = await difference(mutation, await mutant(mutation, String(i)));
      assert.notEqual(found, null, `${mutation.reference} does not notice it`);
      console.log(`      ${found}`);
    });
  });
});
