import { entriesOf, type StoredArray } from "./array-part.js";
import { BIG_VISION_TABLE, bigVisionParts } from "./big-vision.js";
import type { WeightFiles } from "./checkpoint-entry.js";
import { WeightsError } from "./errors.js";
import { shown } from "./json.js";
import { openNpz, type NpzArchive } from "./npz.js";
import type { ByteSource, Folder } from "./byte-source.js";

/**
 * The folder of the model's arrays in an archive of a whole training, and those beside it: the optimiser's state and
 * the clock.
 */
const PARAMS = "params/";
const BESIDE = /^(opt|chrono)\//;

/** Two void bytes are bfloat16; no array is ever unpacked whole. */
const OPTIONS = { void2: "BF16", maxInflated: Infinity } as const;

/** Whether an archive's list of members is a PaliGemma's. Throws `WeightsError` for a file that is no archive. */
export async function holdsBigVision(folder: Folder, file: string): Promise<boolean> {
  const source = await folder.open(file);
  try {
    return prefixOf(await openNpz(source, OPTIONS)) !== null;
  } finally {
    await source.close();
  }
}

/**
 * The tensors of a big_vision archive `file`, from the headers of its arrays. What is stored without compression is
 * read, or mapped, where it lies. Throws `WeightsError` for what is damaged or no PaliGemma, for arrays of another byte
 * order or axis order than NumPy's own, and for one that holds more than is known.
 */
export async function openBigVision(folder: Folder, file: string): Promise<WeightFiles> {
  const source = await folder.open(file);
  const members: ByteSource[] = [];
  const close = async (): Promise<void> => {
    for (const opened of [...members, source]) await opened.close();
  };
  try {
    const archive = await openNpz(source, OPTIONS);
    const prefix = prefixOf(archive);
    if (prefix === null) {
      const some = archive.names.slice(0, 8).map(shown).join(", ");
      throw new WeightsError(`${source.name}: has no array ${BIG_VISION_TABLE}, it holds ${some || "none"}`);
    }
    const arrays = await openArrays(archive, prefix, { source, file, members });
    const shapes = new Map([...arrays].map(([name, { shape }]) => [name, shape]));
    const entries = entriesOf(arrays, bigVisionParts(shapes, source.name));
    return { entries, sources: new Map([[file, source]]), close };
  } catch (error) {
    await close();
    throw error;
  }
}

/** Where the model's arrays are in an archive; null where there is no model. */
const prefixOf = ({ names }: NpzArchive): string | null =>
  [PARAMS, ""].find((prefix) => names.includes(prefix + BIG_VISION_TABLE)) ?? null;

async function openArrays(
  archive: NpzArchive,
  prefix: string,
  { source, file, members }: { source: ByteSource; file: string; members: ByteSource[] },
): Promise<Map<string, StoredArray>> {
  const arrays = new Map<string, StoredArray>();
  for (const name of archive.names) {
    if (prefix !== "" && BESIDE.test(name)) continue;
    const { header, source: member } = await archive.open(name);
    members.push(member);
    const { dtype, shape, bigEndian, fortranOrder, dataStart } = header;
    if (bigEndian || (fortranOrder && shape.length > 1)) {
      const fault = bigEndian ? "its highest byte first" : "its first axis innermost";
      const advice = "save it with numpy.ascontiguousarray(a, a.dtype.newbyteorder('<'))";
      throw new WeightsError(`${source.name}: array ${shown(name)} has ${fault}; ${advice}`);
    }
    arrays.set(name.startsWith(prefix) ? name.slice(prefix.length) : name, {
      name,
      file,
      dtype,
      shape,
      place: member.place === null ? null : member.place + dataStart,
      read: (start, end) => member.read(dataStart + start, dataStart + end),
      ...(member.place === null ? { inTurn: oneByOne() } : {}),
    });
  }
  return arrays;
}

/**
 * Runs what it is given in the order in which it is given, one at a time: what is deflated is unpacked forwards only.
 */
function oneByOne(): <T>(run: () => Promise<T>) => Promise<T> {
  let last: Promise<unknown> = Promise.resolve();
  return (run) => {
    const next = last.then(run);
    last = next.catch(() => {});
    return next;
  };
}
