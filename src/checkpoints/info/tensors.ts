import picomatch from "picomatch";

import type { Checkpoint } from "../../../weights/checkpoint.js";
import { type FloatDType, toFloat32 } from "../../../weights/dtype.js";
import { InputError } from "../../base/errors.js";
import { storedForm } from "./parts.js";
import { RunningStatistics, type Statistics } from "./statistics.js";

/**
 * One tensor: its name as the model knows it and as the file spells it, its type or packed form, its shape and its
 * file.
 */
export type TensorInfo = {
  name: string;
  stored: string;
  form: string;
  shape: readonly number[];
  file: string;
  /** Of the values, where they were asked for. */
  statistics?: Statistics;
};

/**
 * The tensors whose name, or name in the file, matches the glob (`*` stays within a dot, `**` does not), with their
 * statistics: each is read in pieces, one after another. Null lists all and reads none. Throws `InputError` where
 * nothing matches.
 */
export async function tensorInfos(checkpoint: Checkpoint, glob: string | null): Promise<TensorInfo[]> {
  const asPath = (name: string): string => name.replaceAll(".", "/");
  const matches = glob === null ? () => true : picomatch(asPath(glob), { dot: true, nonegate: true, noextglob: true });
  const infos: TensorInfo[] = [];
  for (const [name, entry] of checkpoint.entries) {
    if (!matches(asPath(name)) && !matches(asPath(entry.name))) continue;
    const { name: stored, shape, file } = entry;
    const info = { name, stored, form: storedForm(entry).form, shape, file };
    infos.push(glob === null ? info : { ...info, statistics: await statisticsOf(checkpoint, name) });
  }
  if (infos.length > 0) return infos;
  const some = [...checkpoint.entries.keys()].slice(0, 3).join(", ");
  throw new InputError(`--tensors ${glob}: there is no such tensor; names are such as ${some}`);
}

async function statisticsOf(checkpoint: Checkpoint, name: string): Promise<Statistics> {
  const dtype = checkpoint.entries.get(name)!.dtype as FloatDType; // `check` has refused others
  const statistics = new RunningStatistics();
  for await (const piece of checkpoint.pieces(name)) statistics.add(toFloat32(piece, dtype));
  return statistics.result;
}
