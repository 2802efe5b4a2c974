import { partOf } from "./array-part.js";
import type { CheckpointEntry, PlacedEntry } from "./checkpoint-entry.js";
import { PATCH_KERNEL } from "./names.js";
import type { ByteSource } from "./byte-source.js";

/** Channels of a picture. */
const RGB = 3;

/**
 * Gives the patch embedding as [D, C, patch, patch] where a file has it as [D, patch, patch, C]. Everything else in
 * such a file is spelled as on the hub. Source: Blaizzy/mlx-vlm, models/paligemma/vision.py `sanitize` (MLX
 * convolutions take channels last).
 */
export function channelsFirst(entries: Map<string, CheckpointEntry>, sources: ReadonlyMap<string, ByteSource>): void {
  const entry = entries.get(PATCH_KERNEL);
  if (entry === undefined || !("start" in entry) || !isChannelsLast(entry.shape)) return;
  const { name, file, dtype, shape, start } = entry satisfies PlacedEntry;
  const read = (from: number, to: number) => sources.get(file)!.read(start + from, start + to);
  const stored = { name, file, dtype, shape, place: null, read };
  entries.set(PATCH_KERNEL, partOf(stored, { array: name, index: [], axes: [[0], [3], [1], [2]] }));
}

const isChannelsLast = (shape: readonly number[]): boolean =>
  shape.length === 4 && shape[1] !== RGB && shape[1] === shape[2] && shape[3] === RGB;
