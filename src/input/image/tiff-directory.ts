/** Where the values of one tag lie. */
type Field = { type: number; count: number; at: number };

/** One image file directory: the values of its tags, as numbers. */
export type Directory = {
  /** The type of a tag's values, as TIFF 6.0 numbers types; undefined where the tag is absent or cannot be read. */
  typeOf(tag: number): number | undefined;
  /** The numbers of a tag; undefined where the tag is absent or holds none that can be read. */
  numbers(tag: number): number[] | undefined;
  /** The bytes of a tag of type BYTE or UNDEFINED. */
  bytes(tag: number): Uint8Array | undefined;
};

/** A TIFF structure: a file, or the body of EXIF data. */
export type Tiff = { bytes: Uint8Array; littleEndian: boolean; directories: Directory[] };

/** More pages than this are not counted. */
const MAX_DIRECTORIES = 65_536;

/** Bytes of one value of each type that Pillow reads. Source: TIFF 6.0, section 2; BigTIFF adds 16. */
const SIZES: Readonly<Record<number, number>> = {
  ...{ 1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8 },
};

/**
 * Reads the directories of a TIFF or BigTIFF in either byte order, the first `limit` of them; a chain that bites its
 * tail ends there. Throws an `Error` where there is none.
 */
export function readTiff(bytes: Uint8Array, limit: number = MAX_DIRECTORIES): Tiff {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (bytes.length < 8) throw new Error("its header is cut off");
  const littleEndian = bytes[0] === 0x49;
  // Some writers put the magic number into the other byte order than everything else: Pillow reads those too.
  const big = view.getUint16(2, littleEndian) === 43;
  const width = big ? 8 : 4;
  const offset = (at: number): number =>
    big ? Number(view.getBigUint64(at, littleEndian)) : view.getUint32(at, littleEndian);
  const directories: Directory[] = [];
  const seen = new Set<number>();
  for (let at = offset(big ? 8 : 4); at !== 0 && !seen.has(at) && directories.length < limit;) {
    seen.add(at);
    const count = big ? Number(view.getBigUint64(at, littleEndian)) : view.getUint16(at, littleEndian);
    const first = at + (big ? 8 : 2);
    const entry = 4 + 2 * width;
    if (first + entry > bytes.length) {
      if (directories.length > 0) break;
      throw new Error("its directory lies beyond the end of the file");
    }
    const next = first + count * entry;
    // Fields are read where they are asked for: thousands of directories may claim the same ones.
    const fields = () => fieldsOf(view, littleEndian, { first, count, width, offset });
    directories.push(directory(view, littleEndian, fields));
    at = next + width <= bytes.length ? offset(next) : 0;
  }
  if (directories.length === 0) throw new Error("it has no directory");
  return { bytes, littleEndian, directories };
}

/**
 * The fields that can be read, the first of each tag. The first that lies beyond the end, or whose values do, ends
 * them; one that would take the values of all together over the size of the file is passed over. Source: Pillow 13,
 * TiffImagePlugin.py, `ImageFileDirectory_v2.load`.
 */
function fieldsOf(
  view: DataView,
  littleEndian: boolean,
  { first, count, width, offset }: { first: number; count: number; width: number; offset: (at: number) => number },
): Map<number, Field> {
  const fields = new Map<number, Field>();
  const entry = 4 + 2 * width;
  let total = 0;
  for (let i = 0, at = first; i < count && at + entry <= view.byteLength; i++, at += entry) {
    const [tag, type] = [view.getUint16(at, littleEndian), view.getUint16(at + 2, littleEndian)];
    const values = offset(at + 4);
    const place = at + 4 + width;
    const size = (SIZES[type] ?? 0) * values;
    if (fields.has(tag) || size === 0) continue;
    const field = { type, count: values, at: size <= width ? place : offset(place) };
    if (size > width && (total += size) > view.byteLength) continue;
    if (field.at + size > view.byteLength) return fields;
    fields.set(tag, field);
  }
  return fields;
}

function directory(view: DataView, littleEndian: boolean, read: () => ReadonlyMap<number, Field>): Directory {
  let known: ReadonlyMap<number, Field> | undefined;
  const fieldOf = (tag: number): Field | undefined => (known ??= read()).get(tag);
  return {
    typeOf: (tag) => fieldOf(tag)?.type,
    numbers: (tag) => {
      const field = fieldOf(tag);
      const reader = field && READERS[field.type];
      if (!reader) return undefined;
      return Array.from({ length: field.count }, (_, i) =>
        reader(view, field.at + i * SIZES[field.type]!, littleEndian),
      );
    },
    bytes: (tag) => {
      const field = fieldOf(tag);
      if (!field || SIZES[field.type] !== 1) return undefined;
      return new Uint8Array(view.buffer, view.byteOffset + field.at, field.count);
    },
  };
}

type Reader = (view: DataView, at: number, littleEndian: boolean) => number;
const long: Reader = (view, at, little) => view.getUint32(at, little);
const READERS: Readonly<Record<number, Reader>> = {
  1: (view, at) => view.getUint8(at),
  3: (view, at, little) => view.getUint16(at, little),
  4: long,
  5: (view, at, little) => view.getUint32(at, little) / view.getUint32(at + 4, little),
  6: (view, at) => view.getInt8(at),
  8: (view, at, little) => view.getInt16(at, little),
  9: (view, at, little) => view.getInt32(at, little),
  10: (view, at, little) => view.getInt32(at, little) / view.getInt32(at + 4, little),
  11: (view, at, little) => view.getFloat32(at, little),
  12: (view, at, little) => view.getFloat64(at, little),
  13: long,
  16: (view, at, little) => Number(view.getBigUint64(at, little)),
};
