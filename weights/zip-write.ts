import { crc32 } from "./crc32.js";
import { WeightsError } from "./errors.js";
import { shown } from "./json.js";

/** A member to write: its bytes in pieces, which are not copied. */
export interface ZipInput {
  readonly name: string;
  readonly parts: readonly Uint8Array[];
}

/**
 * Days are counted from 1 January 1980: the same members give the same bytes at any time. Source: PKWARE APPNOTE
 * 6.3.10, 4.4.6.
 */
const DATE = 0x21;
/** Names are UTF-8. */
const FLAGS = 0x800;
const VERSION = 20;
/** Longest name in bytes, the most that a member takes besides its own bytes, and the largest archive. */
const LONGEST_NAME = 1000;
const OVERHEAD = 30 + 46 + 2 * LONGEST_NAME;
const LARGEST = 2 ** 32 - 2;

/**
 * The parts of a zip archive that stores its members as they are, in order. Throws `WeightsError` naming `where` for
 * more than 65,534 members, names that are empty, too long or there twice, and an archive of 4 GiB or more (zip64 is
 * not written). Source: PKWARE APPNOTE 6.3.10, sections 4.3.7, 4.3.12 and 4.3.16.
 */
export function zipParts(members: readonly ZipInput[], where: string): Uint8Array[] {
  const names = new Set(members.map(({ name }) => name));
  if (names.size !== members.length) throw new WeightsError(`${where}: two members have one name`);
  if (members.length > 65_534) throw new WeightsError(`${where}: ${members.length} members, at most 65534 are written`);
  const total = members.reduce((sum, { parts }) => sum + lengthOf(parts) + OVERHEAD, 0);
  if (total > LARGEST)
    throw new WeightsError(`${where}: ${total} bytes are too many for a zip archive; write safetensors`);
  const parts: Uint8Array[] = [];
  const entries: Uint8Array[] = [];
  let at = 0;
  for (const { name, parts: pieces } of members) {
    const label = new TextEncoder().encode(name);
    if (label.length === 0 || label.length > LONGEST_NAME) {
      throw new WeightsError(
        `${where}: the name ${shown(name)} has ${label.length} bytes, expected 1 to ${LONGEST_NAME}`,
      );
    }
    const size = lengthOf(pieces);
    const crc = pieces.reduce((before, piece) => crc32(piece, before), 0);
    const common = [u16(VERSION), u16(FLAGS), u16(0), u16(0), u16(DATE), u32(crc), u32(size), u32(size)];
    const local = bytesOf([u32(0x04034b50), ...common, u16(label.length), u16(0), label]);
    const rest = [u16(label.length), u16(0), u16(0), u16(0), u16(0), u32(0), u32(at), label];
    entries.push(bytesOf([u32(0x02014b50), u16(VERSION), ...common, ...rest]));
    parts.push(local, ...pieces);
    at += local.length + size;
  }
  const [count, listed] = [u16(members.length), lengthOf(entries)];
  const end = bytesOf([u32(0x06054b50), u16(0), u16(0), count, count, u32(listed), u32(at), u16(0)]);
  return [...parts, ...entries, end];
}

const u16 = (value: number): number[] => [value & 255, (value >>> 8) & 255];
const u32 = (value: number): number[] => [...u16(value), ...u16(value >>> 16)];
const bytesOf = (fields: readonly (number[] | Uint8Array)[]): Uint8Array =>
  Uint8Array.from(fields.flatMap((field) => [...field]));
const lengthOf = (pieces: readonly Uint8Array[]): number => pieces.reduce((sum, piece) => sum + piece.length, 0);
