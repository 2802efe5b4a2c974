import { type Box, boxesOf, boxIn, Cursor, type HeifItem, readHeif } from "./heif-boxes.js";

/**
 * An AVIF whose coded pictures all say how many bits they have: the given one where they do. Files of libheif up to
 * 1.11 do not; Pillow reads them, and the decoder here wants that property. Source: libavif, avif.h,
 * `AVIF_STRICT_PIXI_REQUIRED`.
 */
export function withPixelInformation(bytes: Uint8Array): Uint8Array {
  const { items } = readHeif(bytes);
  const lacking = items.filter((item) => isCoded(item) && !boxIn(item.properties, "pixi"));
  const top = boxesOf(bytes);
  const meta = top.find(({ kind }) => kind === "meta");
  if (lacking.length === 0 || !meta) return bytes;
  const config = lacking.map((item) => boxIn(item.properties, "av1C")).find((found) => found !== undefined);
  if (!config) return bytes;
  const properties = new Map(
    lacking.map((item) => [item.id, pixelInformation(boxIn(item.properties, "av1C") ?? config)]),
  );
  const children = boxesOf(meta.body.subarray(4)).map((child) =>
    child.kind === "iprp" ? withProperties(child, properties) : child,
  );
  const grown = [...properties.values()].reduce((sum, box) => sum + boxOf(box).length, 0) + linksGrowBy(meta, lacking);
  const end = meta.body.byteOffset - bytes.byteOffset + meta.body.length;
  const moved = children.map((child) =>
    child.kind === "iloc" ? { ...child, body: shifted(child.body, end, grown) } : child,
  );
  const body = Buffer.concat([meta.body.subarray(0, 4), ...moved.map(boxOf)]);
  return Buffer.concat(top.map((box) => boxOf(box === meta ? { ...meta, body } : box)));
}

const isCoded = ({ type }: HeifItem): boolean => type === "av01" || type === "grid";

/** A box with a head of 8 bytes. */
function boxOf({ kind, body }: Box): Buffer {
  const head = Buffer.alloc(8);
  head.writeUInt32BE(8 + body.length);
  head.write(kind, 4, "latin1");
  return Buffer.concat([head, body]);
}

/** Channels, and the bits of each. Source: ISO/IEC 23008-12, 6.5.6; AV1-ISOBMFF, 2.3. */
function pixelInformation(config: Uint8Array): Box {
  const flags = config[2]!;
  const bits = flags & 0x40 ? (flags & 0x20 ? 12 : 10) : 8;
  const channels = flags & 0x10 ? 1 : 3;
  return {
    kind: "pixi",
    body: Uint8Array.from([0, 0, 0, 0, channels, ...Array.from({ length: channels }, () => bits)]),
  };
}

const linkSize = (links: Uint8Array): number => (links[3]! & 1 ? 2 : 1);

function linksGrowBy({ body }: Box, lacking: readonly HeifItem[]): number {
  const links = boxIn(boxesOf(boxIn(boxesOf(body.subarray(4)), "iprp") ?? new Uint8Array(0)), "ipma");
  return links === undefined ? 0 : lacking.length * linkSize(links);
}

/** The properties with one more for each of the items, and the links to them. */
function withProperties({ kind, body }: Box, added: ReadonlyMap<number, Box>): Box {
  const parts = boxesOf(body);
  const known = boxesOf(boxIn(parts, "ipco") ?? new Uint8Array(0));
  const place = new Map([...added.keys()].map((id, i) => [id, known.length + 1 + i]));
  const rewritten = parts.map((part) => {
    if (part.kind === "ipco") return { ...part, body: Buffer.concat([part.body, ...[...added.values()].map(boxOf)]) };
    return part.kind === "ipma" ? { ...part, body: linked(part.body, place) } : part;
  });
  return { kind, body: Buffer.concat(rewritten.map(boxOf)) };
}

function linked(links: Uint8Array, place: ReadonlyMap<number, number>): Uint8Array {
  const [idSize, size] = [links[0]! < 1 ? 2 : 4, linkSize(links)];
  const cursor = new Cursor(links, 4);
  const parts: Uint8Array[] = [links.subarray(0, 8)];
  for (let entries = cursor.next(4); entries > 0; entries--) {
    const from = cursor.at;
    const id = cursor.next(idSize);
    const count = cursor.next(1);
    cursor.at += count * size;
    const entry = Buffer.from(links.subarray(from, cursor.at));
    const property = place.get(id);
    if (property !== undefined) entry[idSize] = count + 1;
    parts.push(entry);
    if (property !== undefined) parts.push(Uint8Array.from(size === 2 ? [property >> 8, property & 255] : [property]));
  }
  return Buffer.concat(parts);
}

/** Places of items with everything behind `end` moved by `grown` bytes. Source: ISO/IEC 14496-12, 8.11.3. */
function shifted(body: Uint8Array, end: number, grown: number): Uint8Array {
  const copy = Buffer.from(body);
  const version = copy[0]!;
  const [offsetSize, lengthSize, baseSize] = [copy[4]! >> 4, copy[4]! & 15, copy[5]! >> 4];
  const indexSize = version > 0 ? copy[5]! & 15 : 0;
  const cursor = new Cursor(copy, 6);
  const add = (at: number, size: number): void => {
    const value = new Cursor(copy, at).next(size) + grown;
    if (size === 8) copy.writeBigUInt64BE(BigInt(value), at);
    else if (size === 4) copy.writeUInt32BE(value, at);
  };
  for (let count = cursor.next(version < 2 ? 2 : 4); count > 0; count--) {
    cursor.next(version < 2 ? 2 : 4);
    const inFile = version === 0 || (cursor.next(2) & 15) === 0;
    cursor.at += 2;
    const baseAt = cursor.at;
    const base = cursor.next(baseSize);
    if (inFile && base >= end) add(baseAt, baseSize);
    for (let parts = cursor.next(2); parts > 0; parts--) {
      cursor.at += indexSize;
      const at = cursor.at;
      const offset = cursor.next(offsetSize);
      if (inFile && base < end && base + offset >= end) add(at, offsetSize);
      cursor.next(lengthSize);
    }
  }
  return copy;
}
