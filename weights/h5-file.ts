import type { Metadata } from "h5wasm";
import { checkRange } from "./bytes.js";
import { bytesOf, type DType } from "./dtype.js";
import { WeightsError } from "./errors.js";
import { kindOf } from "./foreign-file.js";
import { openFile } from "./source.js";
import { calling, giveUp, h5Library, type H5Library } from "./h5-library.js";
import { type MountedFile, mountFile, type WasmFileSystem } from "./h5-mount.js";
import { shown } from "./json.js";
import { sizeOfTensor } from "./tensor-data.js";

/** Most groups and arrays of a file, and how deep they may lie. PaliGemma 2 28B has about 2500, 9 deep. */
const MAX_OBJECTS = 20_000;
const MAX_DEPTH = 32;

/**
 * Most bytes that are read at once: pieces are smaller, and so is a row of any matrix. The library's memory ends at 2
 * GiB.
 */
const MAX_READ = 2 ** 29;
/** An instance whose memory has grown beyond this, as damaged files can make it, is not kept: it never shrinks. */
const MAX_KEPT_MEMORY = 2 ** 28;

/** No bounds on the version of what would be written. */
const ANY_VERSION = -1;

/** Number types by HDF5's class and width. Source: HDF5 2.0, H5Tpublic.h, `H5T_class_t`. */
const [INTEGER, FLOAT, OPAQUE] = [0, 1, 5];
const FLOATS: Readonly<Record<number, DType>> = { 2: "F16", 4: "F32", 8: "F64" };
const SIGNED: Readonly<Record<number, DType>> = { 1: "I8", 2: "I16", 4: "I32", 8: "I64" };
const UNSIGNED: Readonly<Record<number, DType>> = { 1: "U8", 2: "U16", 4: "U32", 8: "U64" };

/** An array of an HDF5 file: its path without the first slash, type and shape; values row by row, little-endian. */
export interface H5Array {
  readonly name: string;
  readonly dtype: DType;
  readonly shape: readonly number[];
  /** Bytes `start` to `end` of the values, in a fresh array. Throws `WeightsError` for what cannot be read. */
  read(start: number, end: number): Promise<Uint8Array>;
}

/** An open HDF5 file. */
export interface H5File {
  readonly arrays: ReadonlyMap<string, H5Array>;
  close(): Promise<void>;
}

/**
 * Opens an HDF5 file on disk as Keras writes it and lists its arrays; values are read by ranges. `bfloat16` is two
 * opaque bytes with the attribute `dtype`, which Keras gives to no other type. Throws `WeightsError` naming the file
 * for what is no HDF5 file or damaged, for links (Keras writes none) and groups with several names, values of other
 * kinds than numbers, and more than 20,000 objects.
 */
export async function openH5(path: string): Promise<H5File> {
  const library = await h5Library();
  const mounted = mountFile(library.FS as unknown as WasmFileSystem, path);
  const guarded = <T>(what: string, run: () => T): T => {
    const result = calling(library, `${path}: ${what}`, mounted.fault, run);
    mounted.requireUnchanged();
    return result;
  };
  let id: bigint | null = null;
  const close = async (): Promise<void> => {
    if (id === null) return;
    try {
      library.close_file(id);
    } catch {
      giveUp(library); // what could be read has been read
    }
    id = null;
    mounted.unmount();
    if (library.HEAPU8.length > MAX_KEPT_MEMORY) giveUp(library);
  };
  try {
    id = guarded(await whatElse(path), () => opened(library, mounted));
    const file = id;
    const arrays = new Map<string, H5Array>();
    guarded("its list of arrays cannot be read; it is damaged", () => {
      for (const name of arrayNames(library, file, path)) {
        const array = describe(library, file, name, path);
        const read = async (start: number, end: number): Promise<Uint8Array> => {
          const where = `array ${shown(name)} cannot be read; the file is damaged`;
          return guarded(where, () => readBytes(library, file, array, `${path}: array ${shown(name)}`, start, end));
        };
        arrays.set(name, { ...array, read });
      }
    });
    return { arrays, close };
  } catch (error) {
    if (id === null) mounted.unmount();
    await close();
    throw error;
  }
}

/** What to say of a file that HDF5 does not open. */
async function whatElse(path: string): Promise<string> {
  const source = await openFile(path);
  try {
    const kind = await kindOf(source);
    const isH5 = kind === null || kind.startsWith("an HDF5 file");
    return isH5 ? "is no HDF5 file, or it is damaged" : `expected an HDF5 file, found ${kind}`;
  } finally {
    await source.close();
  }
}

function opened(library: H5Library, { path }: MountedFile): bigint {
  const id = library.open(path, library.H5F_ACC_RDONLY, false, ANY_VERSION, ANY_VERSION);
  if (id < 0n) throw new Error("HDF5 refuses it");
  return id;
}

/** Paths of all arrays below the root, each found by plain names: a link could lead anywhere. */
function arrayNames(library: H5Library, file: bigint, path: string): string[] {
  const arrays: string[] = [];
  const groups = [""];
  const places = new Map([[placeOf(library, file, "/"), "the root"]]);
  let objects = 0;
  for (let group = groups.shift(); group !== undefined; group = groups.shift()) {
    for (const name of library.get_names(file, `/${group}`, false)) {
      const inner = group === "" ? name : `${group}/${name}`;
      if (++objects > MAX_OBJECTS || inner.split("/").length > MAX_DEPTH) {
        throw new WeightsError(
          `${path}: holds more than ${MAX_OBJECTS} objects, or more than ${MAX_DEPTH} within each other`,
        );
      }
      const { filename } = library.get_external_link(file, `/${inner}`) as { filename?: string };
      if (filename !== undefined || library.get_symbolic_link(file, `/${inner}`)) {
        throw new WeightsError(`${path}: ${shown(inner)} is a link, which is not followed`);
      }
      const type = library.get_type(file, `/${inner}`);
      if (type === library.H5G_DATASET) {
        arrays.push(inner);
      } else if (type === library.H5G_GROUP) {
        const place = placeOf(library, file, `/${inner}`);
        const earlier = places.get(place);
        if (earlier !== undefined) {
          throw new WeightsError(`${path}: the group ${shown(inner)} is ${earlier} once more; Keras writes each once`);
        }
        places.set(place, shown(inner));
        groups.push(inner);
      } else throw new WeightsError(`${path}: ${shown(inner)} is neither a group nor an array`);
    }
  }
  return arrays;
}

/**
 * Where a group lies in its file: that of one with several names is one, and walked once for each name it would go on
 * without end.
 */
const placeOf = (library: H5Library, file: bigint, name: string): string =>
  Buffer.from(library.create_object_reference(file, name)).toString("hex");

function describe(library: H5Library, file: bigint, name: string, path: string): Omit<H5Array, "read"> {
  const metadata = library.get_dataset_metadata(file, `/${name}`);
  if (metadata.shape === null) throw new WeightsError(`${path}: array ${shown(name)} has no shape`);
  if (metadata.virtual_sources)
    throw new WeightsError(`${path}: array ${shown(name)} lies in other files, which are not opened`);
  return { name, dtype: typeOf(library, file, name, metadata, path), shape: metadata.shape };
}

function typeOf(library: H5Library, file: bigint, name: string, metadata: Metadata, path: string): DType {
  const { type, size, signed, littleEndian, vlen } = metadata;
  const brain = type === OPAQUE && size === 2 && isMarked(library, file, name);
  const integers = signed ? SIGNED : UNSIGNED;
  const dtype = brain ? "BF16" : type === FLOAT ? FLOATS[size] : type === INTEGER ? integers[size] : undefined;
  if (dtype !== undefined && !vlen && (brain || size === 1 || littleEndian)) return dtype;
  const found = `HDF5's class ${type} of ${size} bytes${littleEndian ? "" : ", highest byte first"}`;
  throw new WeightsError(
    `${path}: array ${shown(name)} is of ${found}, expected little-endian numbers as Keras writes them`,
  );
}

/**
 * Whether an array has the attribute by which Keras marks bfloat16 alone. Its text is not read: it lies in a heap, and
 * the library goes through a damaged one for ever. Source: keras 3.15, src/saving/saving_lib.py, `H5Entry`.
 */
const isMarked = (library: H5Library, file: bigint, name: string): boolean =>
  library.get_attribute_names(file, `/${name}`).includes("dtype");

/** A range of an array's bytes: the whole rows around it are read, and cut. */
function readBytes(
  library: H5Library,
  file: bigint,
  { name, dtype, shape }: Omit<H5Array, "read">,
  where: string,
  start: number,
  end: number,
): Uint8Array {
  const size = sizeOfTensor(dtype, shape, where);
  checkRange(where, size, start, end);
  if (start === end) return new Uint8Array(0);
  const rowBytes = shape.slice(1).reduce((product, axis) => product * axis, bytesOf(dtype));
  const [first, last] = [Math.floor(start / rowBytes), Math.ceil(end / rowBytes)];
  const bytes = (last - first) * rowBytes;
  // The library would be handed what is left of a larger number.
  if (bytes > MAX_READ)
    throw new WeightsError(`${where}: ${bytes} bytes are read at once, expected at most ${MAX_READ}`);
  const at = library._malloc(bytes);
  if (at === 0) throw new WeightsError(`${where}: no room in memory for ${bytes} bytes`);
  try {
    const [offset, count] = [shape.map((_, axis) => (axis === 0 ? first : 0)), [last - first, ...shape.slice(1)]];
    const whole = shape.length === 0 ? null : { offset: offset.map(BigInt), count: count.map(BigInt) };
    const strides = whole && shape.map(() => 1n);
    const status = library.get_dataset_data(
      file,
      `/${name}`,
      whole && whole.count,
      whole && whole.offset,
      strides,
      BigInt(at),
    );
    if (status < 0) throw new Error("HDF5 refuses it");
    return library.HEAPU8.slice(at + start - first * rowBytes, at + end - first * rowBytes);
  } finally {
    library._free(at);
  }
}
