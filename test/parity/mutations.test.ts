import { strict as assert } from "node:assert";
import { cpSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import path from "node:path";
import { pathToFileURL } from "node:url";

import { useBackend } from "../../src/backend.js";
import type { decode } from "../../src/generate.js";
import type { loadConfig, loadNetwork } from "../../src/load-network.js";
import type { PaliGemmaModel } from "../../src/model.js";
import { openFolder } from "../../weights/source.js";
import { type Mutation, mutations } from "./mutations.js";
import { fixtures, readReference } from "./reference.js";
import { compareHooks, greedyIds, TOLERANCE } from "./run.js";

const root = path.join(fixtures, "..", "..");
// Inside the checkout, so that the copies find the same node_modules, and with them the same TensorFlow.js engine.
const mutants = path.join(root, ".mutants");

type Network = { loadConfig: typeof loadConfig; loadNetwork: typeof loadNetwork; decode: typeof decode };

/** Copies the source, plants the mistake in one file of the copy, and imports the copy. */
async function mutant({ file, find, replace }: Mutation, id: string): Promise<Network> {
  const folder = path.join(mutants, id);
  for (const part of ["layers", "src", "weights"]) copySources(path.join(root, part), path.join(folder, part));
  const text = readFileSync(path.join(root, file), "utf8");
  const places = text.split(find).length - 1;
  assert.equal(places, 1, `the text to mutate stands ${places} times in ${file}: ${find}`);
  // A function as replacement: "$" in the text must stay what it is.
  writeFileSync(
    path.join(folder, file),
    text.replace(find, () => replace),
  );
  const load = (name: string) => import(pathToFileURL(path.join(folder, "src", name)).href);
  return { ...(await load("load-network.ts")), ...(await load("generate.ts")) } as Network;
}

function copySources(from: string, to: string): void {
  mkdirSync(to, { recursive: true });
  for (const entry of readdirSync(from, { withFileTypes: true })) {
    const [source, target] = [path.join(from, entry.name), path.join(to, entry.name)];
    if (entry.isFile() && entry.name.endsWith(".ts")) cpSync(source, target);
  }
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
  after(() => rmSync(mutants, { recursive: true, force: true }));

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
