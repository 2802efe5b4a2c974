import type { BackendName } from "../src/backends/backend.js";
import { PaliGemma } from "../src/paligemma.js";
import { alternating, type Samples } from "./measure.js";

/** How long does loading take, files in the system's cache? */
export async function loadTimes(backend: BackendName, repetitions: number): Promise<Samples> {
  const load = async () => (await PaliGemma.load(undefined, { backend })).dispose();
  return (await alternating(repetitions, { load })).load;
}
