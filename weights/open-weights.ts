import type { Folder } from "./byte-source.js";
import { Checkpoint, type CheckpointOptions } from "./checkpoint.js";
import { openWeightFiles } from "./weight-files.js";

/**
 * Opens the weights of a folder, in whatever form it has them, as a checkpoint; the caller closes it. Everything that
 * reads files and archives stands behind this function: `Checkpoint` itself also runs in a browser. Throws
 * `WeightsError` when there are none, for a header or index that lies, and where two names are one tensor.
 */
export const openWeights = async (folder: Folder, options: CheckpointOptions = {}): Promise<Checkpoint> =>
  Checkpoint.of(folder.name, await openWeightFiles(folder), options);
