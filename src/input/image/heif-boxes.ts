import { latin1 } from "./latin1.js";
/** One box of an ISO base media file: its four letters, and its body. */
export type Box = { kind: string; body: Uint8Array };

/** Where the bytes of an item lie, in the file or (`inData`) in the box that the items share. */
type Place = { inData: boolean; extents: { from: number; length: number }[] };

/** One item of a HEIF file: a coded picture, EXIF data, XMP... */
export type HeifItem = {
  id: number;
  /** Such as `av01`, `hvc1`, `Exif`, `mime`. */
  type: string;
  /** Of an item of type `mime`. */
  contentType: string;
  /** Its properties, in their order. */
  properties: Box[];
};

/** The items of a HEIF file. */
export type Heif = {
  primary: HeifItem | undefined;
  items: HeifItem[];
  /** The bytes of an item; undefined where they lie beyond the file. */
  dataOf(item: HeifItem): Uint8Array | undefined;
};

/** The boxes of a body, one after the other; one that is cut off ends them. Source: ISO/IEC 14496-12, 4.2. */
export function boxesOf(bytes: Uint8Array): Box[] {
  const view = viewOf(bytes);
  const boxes: Box[] = [];
  for (let at = 0; at + 8 <= bytes.length;) {
    const stated = view.getUint32(at);
    const wide = stated === 1 && at + 16 <= bytes.length;
    const size = wide ? Number(view.getBigUint64(at + 8)) : stated === 0 ? bytes.length - at : stated;
    const head = wide ? 16 : 8;
    if (size < head || at + size > bytes.length) break;
    boxes.push({ kind: letters(bytes, at + 4), body: bytes.subarray(at + head, at + size) });
    at += size;
  }
  return boxes;
}

/** The first box of a kind. */
export const boxIn = (boxes: readonly Box[], kind: string): Uint8Array | undefined =>
  boxes.find((box) => box.kind === kind)?.body;

/**
 * The items of a file's `meta` box; none where it has no such box. Throws a `RangeError` where a box ends too early.
 */
export function readHeif(bytes: Uint8Array): Heif {
  const body = boxIn(boxesOf(bytes), "meta");
  const meta = body === undefined ? [] : boxesOf(body.subarray(4));
  const items = itemsOf(boxIn(meta, "iinf"), propertiesOf(boxIn(meta, "iprp")));
  const places = placesOf(boxIn(meta, "iloc"));
  const first = boxIn(meta, "pitm");
  const id = first === undefined ? undefined : new Cursor(first).idOf(first[0] === 0 ? 2 : 4, 4);
  return {
    primary: items.find((item) => item.id === id),
    items,
    dataOf: (item) => {
      const place = places.get(item.id);
      const source = place?.inData ? boxIn(meta, "idat") : bytes;
      if (!place || !source) return undefined;
      if (place.extents.some(({ from, length }) => from + length > source.length)) return undefined;
      return Buffer.concat(place.extents.map(({ from, length }) => source.subarray(from, from + length)));
    },
  };
}

const viewOf = (bytes: Uint8Array): DataView => new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);

const letters = (bytes: Uint8Array, at: number): string => latin1(bytes.subarray(at, at + 4));

/** Reads numbers one after the other. */
export class Cursor {
  private readonly view: DataView;
  constructor(
    private readonly bytes: Uint8Array,
    public at = 0,
  ) {
    this.view = viewOf(bytes);
  }

  /** A number of 0, 1, 2, 4 or 8 bytes. */
  next(size: number): number {
    const at = this.at;
    this.at += size;
    if (size === 8) return Number(this.view.getBigUint64(at));
    return size === 4
      ? this.view.getUint32(at)
      : size === 2
        ? this.view.getUint16(at)
        : size === 1
          ? this.view.getUint8(at)
          : 0;
  }

  idOf(size: number, at: number): number {
    this.at = at;
    return this.next(size);
  }

  /** Text up to a zero. */
  text(): string {
    const end = this.bytes.indexOf(0, this.at);
    const text = latin1(this.bytes.subarray(this.at, end < 0 ? undefined : end));
    this.at = end < 0 ? this.bytes.length : end + 1;
    return text;
  }
}

function itemsOf(info: Uint8Array | undefined, properties: ReadonlyMap<number, Box[]>): HeifItem[] {
  if (info === undefined) return [];
  const entries = boxesOf(info.subarray(info[0] === 0 ? 6 : 8)).filter(({ kind }) => kind === "infe");
  return entries.map(({ body }) => {
    const version = body[0]!;
    const cursor = new Cursor(body, 4);
    const id = cursor.next(version < 3 ? 2 : 4);
    cursor.at += 2; // protection
    const type = version < 2 ? "" : letters(body, cursor.at);
    cursor.at += version < 2 ? 0 : 4;
    cursor.text(); // name
    const contentType = version < 2 || type === "mime" ? cursor.text() : "";
    return { id, type: version < 2 ? "mime" : type, contentType, properties: properties.get(id) ?? [] };
  });
}

/** Source: ISO/IEC 23008-12, 9.3. */
function propertiesOf(body: Uint8Array | undefined): Map<number, Box[]> {
  const found = new Map<number, Box[]>();
  if (body === undefined) return found;
  const parts = boxesOf(body);
  const all = boxesOf(boxIn(parts, "ipco") ?? new Uint8Array(0));
  for (const { body: links } of parts.filter(({ kind }) => kind === "ipma")) {
    const [version, wide] = [links[0]!, (links[3]! & 1) !== 0];
    const cursor = new Cursor(links, 4);
    for (let entries = cursor.next(4); entries > 0; entries--) {
      const id = cursor.next(version < 1 ? 2 : 4);
      const own = found.get(id) ?? [];
      for (let count = cursor.next(1); count > 0; count--) {
        const property = all[(wide ? cursor.next(2) & 0x7fff : cursor.next(1) & 0x7f) - 1];
        if (property) own.push(property);
      }
      found.set(id, own);
    }
  }
  return found;
}

/** Source: ISO/IEC 14496-12, 8.11.3. */
function placesOf(body: Uint8Array | undefined): Map<number, Place> {
  const places = new Map<number, Place>();
  if (body === undefined) return places;
  const version = body[0]!;
  const [sizes, more] = [body[4]!, body[5]!];
  const [offsetSize, lengthSize, baseSize, indexSize] = [
    sizes >> 4,
    sizes & 15,
    more >> 4,
    version > 0 ? more & 15 : 0,
  ];
  const cursor = new Cursor(body, 6);
  for (let items = cursor.next(version < 2 ? 2 : 4); items > 0; items--) {
    const id = cursor.next(version < 2 ? 2 : 4);
    const inData = version > 0 && (cursor.next(2) & 15) === 1;
    cursor.at += 2; // data reference
    const base = cursor.next(baseSize);
    const extents = [];
    const count = cursor.next(2);
    if (count > 1 && indexSize + offsetSize + lengthSize === 0) throw new Error("an item lies in parts of no length");
    for (let parts = count; parts > 0; parts--) {
      cursor.at += indexSize;
      const from = base + cursor.next(offsetSize);
      extents.push({ from, length: cursor.next(lengthSize) });
    }
    places.set(id, { inData, extents });
  }
  return places;
}
