import { joinBytes } from "./bytes.js";
import { WeightsError } from "./errors.js";
import { shown } from "./json.js";
import { decodeNpy, type NpyArray, npyParts } from "./npy.js";
import { NPY_PRELUDE, type NpyHeader, type NpyOptions, parseNpyHeader } from "./npy-header.js";
import type { ByteSource } from "./byte-source.js";
import type { TensorData } from "./tensor-data.js";
import { writeWholeFile } from "./write-file.js";
import { type MemberSource, openZip, type ZipOptions } from "./zip.js";
import { zipParts } from "./zip-write.js";

const ENDING = ".npy";

/** An open .npz file: arrays are read one at a time. */
export interface NpzArchive {
  /** The arrays' names, as `numpy.load(...).files` gives them. */
  readonly names: readonly string[];
  /** Names of members that are no arrays. */
  readonly others: readonly string[];
  /**
   * An array. Throws `WeightsError` naming file and array when it is missing, damaged or of a type that is not read.
   */
  read(name: string): Promise<NpyArray>;
  /** An array of which parts are read: what it says it holds, and its file. Throws `WeightsError` as `read` does. */
  open(name: string): Promise<{ header: NpyHeader; source: MemberSource }>;
  /** A member that is no array. Throws `WeightsError` as `read` does. */
  readOther(name: string): Promise<Uint8Array>;
}

/**
 * Opens a .npz file, a zip archive of .npy files as `numpy.savez` and `numpy.savez_compressed` write them; only its
 * list of members is read. Throws `WeightsError` as `openZip` does. The source stays the caller's, and open as long as
 * arrays are read.
 */
export async function openNpz(source: ByteSource, options: NpyOptions & ZipOptions = {}): Promise<NpzArchive> {
  const archive = await openZip(source, options);
  const names = archive.names.filter((name) => name.endsWith(ENDING)).map((name) => name.slice(0, -ENDING.length));
  const others = archive.names.filter((name) => !name.endsWith(ENDING));
  const known = new Set(names);
  const checkName = (name: string): void => {
    if (!known.has(name)) {
      const some = names.slice(0, 8).map(shown).join(", ");
      throw new WeightsError(`${source.name}: there is no array ${shown(name)}, it holds ${some || "none"}`);
    }
  };
  const read = async (name: string): Promise<NpyArray> => {
    checkName(name);
    return decodeNpy(await archive.read(`${name}${ENDING}`), `${source.name}: array ${shown(name)}`, options);
  };
  const open: NpzArchive["open"] = async (name) => {
    checkName(name);
    const member = await archive.open(`${name}${ENDING}`);
    const prelude = await member.read(0, Math.min(NPY_PRELUDE, member.size));
    return { header: parseNpyHeader(prelude, member.size, member.name, options), source: member };
  };
  return { names, others, read, open, readOther: archive.read };
}

/**
 * A .npz file in memory: arrays under their names, then `others` as they are (`numpy.load` gives these as bytes).
 * Nothing is compressed: activations hardly shrink. Throws `WeightsError` when an array does not fit its description,
 * or as `zipParts` does.
 */
export const encodeNpz = (
  tensors: ReadonlyMap<string, TensorData>,
  others?: ReadonlyMap<string, Uint8Array>,
): Uint8Array<ArrayBuffer> => joinBytes("encodeNpz", npzParts(tensors, others, "encodeNpz"));

/** Writes a .npz file as `encodeNpz` makes it, completely or not at all. Throws `WeightsError` naming the path. */
export async function writeNpz(
  path: string,
  tensors: ReadonlyMap<string, TensorData>,
  others?: ReadonlyMap<string, Uint8Array>,
): Promise<void> {
  await writeWholeFile(path, npzParts(tensors, others, path));
}

function npzParts(
  tensors: ReadonlyMap<string, TensorData>,
  others: ReadonlyMap<string, Uint8Array> = new Map(),
  where: string,
): Uint8Array[] {
  const odd = [...others.keys()].find((name) => name.endsWith(ENDING));
  if (odd !== undefined) throw new WeightsError(`${where}: ${shown(odd)} is to be no array, and is called like one`);
  const arrays = [...tensors].map(([name, tensor]) => ({
    name: `${name}${ENDING}`,
    parts: npyParts(tensor, `${where}: array ${shown(name)}`),
  }));
  return zipParts([...arrays, ...[...others].map(([name, bytes]) => ({ name, parts: [bytes] }))], where);
}
