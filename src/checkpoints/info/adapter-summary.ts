import { AdapterFile, readAdapterConfig } from "../../../weights/adapter/adapter-file.js";
import type { AdapterConfig } from "../../../weights/adapter/config.js";
import { openFolder } from "../../../weights/source.js";
import { type AdapterCounts, countAdapter } from "../../adapters/adapter-info.js";

/** An adapter in short: what its config says, and, where it was compared with a model, what it brings to it. */
export type AdapterSummary = { folder: string; config: AdapterConfig; counts: AdapterCounts | null };

/**
 * Reads an adapter's config and header, and compares them with a model (canonical name -> shape); without one the
 * config alone. Throws `WeightsError` as `AdapterFile.open` does.
 */
export async function adapterSummary(
  place: string,
  model: ReadonlyMap<string, readonly number[]> | null,
): Promise<AdapterSummary> {
  const folder = await openFolder(place);
  if (model === null) return { folder: place, config: await readAdapterConfig(folder), counts: null };
  const file = await AdapterFile.open(folder, model);
  await file.close();
  return { folder: place, config: file.config, counts: countAdapter(file) };
}
