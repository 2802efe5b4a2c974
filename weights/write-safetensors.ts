import { fileParts } from "./safetensors.js";
import type { TensorData } from "./tensor-data.js";
import { writeWholeFile } from "./write-file.js";

/**
 * Writes a safetensors file, tensor by tensor, beside its place, and moves it there at the end: on failure nothing is
 * left and what was at `path` stays. Throws `WeightsError` naming the path when a tensor does not fit its description
 * or writing fails.
 */
export async function writeSafetensors(
  path: string,
  tensors: ReadonlyMap<string, TensorData>,
  metadata?: Readonly<Record<string, string>>,
): Promise<void> {
  await writeWholeFile(path, fileParts(tensors, metadata, path));
}
