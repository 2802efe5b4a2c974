import { stat } from "node:fs/promises";
import path from "node:path";

import { isAdapterFolder, readAdapterConfig } from "../../weights/adapter/adapter-file.js";
import { shown } from "../../weights/json.js";
import { openFolder } from "../../weights/source.js";
import { InputError } from "../base/errors.js";

/** Where a model's own weights are, and the adapters that go onto them. */
export type AdaptedPlace = { place: string; adapters: string[] };

/**
 * What a path or URL stands for: a model, or an adapter, whose base is then looked for where its config says. Throws
 * `InputError` where that is no folder here: a file from elsewhere does not decide what is fetched.
 */
export async function adaptedPlace(place: string, signal?: AbortSignal): Promise<AdaptedPlace> {
  const folder = await openFolder(place, signal);
  if (!(await isAdapterFolder(folder))) return { place, adapters: [] };
  const { baseModel } = await readAdapterConfig(folder);
  const found = baseModel === null ? null : await stat(baseModel).catch(() => null);
  if (baseModel !== null && found?.isDirectory()) return { place: baseModel, adapters: [place] };
  const said = baseModel === null ? "it does not say of which model" : `its base ${shown(baseModel)} is no folder here`;
  throw new InputError(
    `${folder.name}: this is an adapter, and ${said}; load the base model, with this folder as adapter`,
  );
}

/** A name for each of several adapters: the last part of its path or URL, with a number where that is taken. */
export function adapterNames(places: readonly string[]): Map<string, string> {
  const names = new Map<string, string>();
  for (const place of places) {
    const name = path.basename(place.replace(/[?#].*$/, "")) || "adapter";
    let free = name;
    for (let i = 2; names.has(free); i++) free = `${name}-${i}`;
    names.set(free, place);
  }
  return names;
}
