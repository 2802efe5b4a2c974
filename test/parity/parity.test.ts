import { strict as assert } from "node:assert";

import { hookCatalogue } from "../../src/model/hook-catalogue.js";
import { loadConfig, loadNetwork } from "../../src/loading/load-network.js";
import type { PaliGemmaModel } from "../../src/model/model.js";
import { openFolder } from "../../weights/source.js";
import { onEachBackend } from "../support/backends.js";
import { committedReferences, readReference } from "./reference.js";
import { EXACT, runParity, TOLERANCE } from "./run.js";

onEachBackend("parity with transformers", () => {
  for (const committed of committedReferences()) {
    describe(committed.name, () => {
      let network: PaliGemmaModel;
      before(async () => {
        const folder = await openFolder(committed.model);
        network = await loadNetwork(folder, await loadConfig(folder), EXACT, { dtype: "float32" });
      });
      after(() => network.dispose());

      it("every hook is within 2e-5 of the reference, and greedy tokens are equal", async () => {
        const reference = await readReference(committed.reference);
        const { hooks, missing, unknown, greedy } = await runParity(network, reference);
        const worst = hooks.reduce((a, b) => (b.scaled > a.scaled ? b : a));
        console.log(`      worst of ${hooks.length}: ${worst.name} ${worst.scaled.toExponential(1)}`);
        assert.deepEqual(missing, [], "hooks of the reference that did not fire");
        assert.deepEqual(unknown, [], "hooks that the reference does not have");
        assert.deepEqual(
          hooks.map((hook) => hook.name).sort(),
          hookCatalogue(network.config)
            .map((h) => h.name)
            .sort(),
        );
        assert.deepEqual(
          hooks.filter((hook) => hook.constant).map((hook) => hook.name),
          [],
          "constant tensors prove nothing",
        );
        const first = hooks.find((hook) => !(hook.scaled <= TOLERANCE));
        assert.equal(first, undefined, `first hook that differs: ${JSON.stringify(first)}`);
        assert.deepEqual(greedy, reference.greedy);
      });
    });
  }
});
