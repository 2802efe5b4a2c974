import { promisify } from "node:util";
import { inflateRaw } from "node:zlib";
import { requireMemoryFor } from "./available-memory.js";
import { checkRange, reasonOf } from "./bytes.js";
import { crc32 } from "./crc32.js";
import { WeightsError } from "./errors.js";
import { shown } from "./json.js";
import { inflatingSource } from "./inflating-source.js";
import type { ByteSource } from "./byte-source.js";
import { LOCAL_HEADER, readDirectory, type ZipMember } from "./zip-directory.js";

/**
 * Most bytes that the deflated members of one archive may have together. What is stored cannot be larger than the file.
 */
export const MAX_INFLATED = 2 ** 32;

/** Most bytes that one deflated byte becomes. Source: zlib's technical note, "Maximum Compression Factor", 1032:1. */
const MAX_RATIO = 1032;

/** A zip archive of which single members are read; the rest of the file is not. */
export interface ZipArchive {
  /** The members' names, in the order of their places. */
  readonly names: readonly string[];
  /** A member's bytes in a fresh array, checked by length and CRC-32. Throws `WeightsError` naming file and member. */
  read(name: string): Promise<Uint8Array>;
  /** A member of which parts are read. Throws `WeightsError` naming file and member. */
  open(name: string): Promise<MemberSource>;
}

/**
 * A member of an archive as a source; closing it leaves the archive open. A deflated one is unpacked from the start to
 * what is read.
 */
export interface MemberSource extends ByteSource {
  /**
   * Where its bytes start in the archive, where they are stored as they are; their CRC-32 is then not looked at. Null
   * where deflated.
   */
  readonly place: number | null;
}

/** How an archive is opened. */
export type ZipOptions = {
  /**
   * Most bytes that deflated members may have together; default `MAX_INFLATED`. What is read in parts never lies in
   * memory whole.
   */
  maxInflated?: number | undefined;
};

/**
 * Opens a zip archive by its list of members. Throws `WeightsError` as `readDirectory` does, and for members that claim
 * to become larger than `maxInflated` or than their packed bytes could: both before anything is unpacked. The source
 * stays the caller's.
 */
export async function openZip(
  source: ByteSource,
  { maxInflated = MAX_INFLATED }: ZipOptions = {},
): Promise<ZipArchive> {
  const members = new Map((await readDirectory(source)).map((member) => [member.name, member]));
  checkInflated([...members.values()], source.name, maxInflated);
  const find = (name: string): ZipMember => {
    const member = members.get(name);
    if (member === undefined) {
      const some = [...members.keys()].slice(0, 8).map(shown).join(", ");
      throw new WeightsError(
        `${source.name}: there is no ${shown(name)} in the archive, it holds ${some || "nothing"}`,
      );
    }
    return member;
  };
  return {
    names: [...members.keys()],
    read: async (name) => readMember(source, find(name)),
    open: async (name) => openMember(source, find(name)),
  };
}

async function openMember(source: ByteSource, member: ZipMember): Promise<MemberSource> {
  const name = `${source.name}: ${shown(member.name)}`;
  const place = await dataStart(source, member, name);
  const { size, packed, crc } = member;
  const range = (start: number, end: number): Promise<Uint8Array> => source.read(place + start, place + end);
  if (member.method !== 0) return { ...inflatingSource({ name, size, packed, crc }, range), place: null };
  const read = async (start: number, end: number): Promise<Uint8Array> => {
    checkRange(name, size, start, end);
    return range(start, end);
  };
  return { name, size, place, read, close: async () => {} };
}

function checkInflated(members: ZipMember[], where: string, most: number): void {
  let total = 0;
  for (const { name, method, size, packed } of members) {
    if (method === 0) continue;
    total += size;
    const claim = `${where}: ${shown(name)} claims to become ${size} bytes`;
    if (size > packed * MAX_RATIO) throw new WeightsError(`${claim}, more than its ${packed} packed bytes can hold`);
    if (total > most) {
      throw new WeightsError(`${claim}, ${total} with those before it; at most ${most} are unpacked`);
    }
  }
}

async function readMember(source: ByteSource, member: ZipMember): Promise<Uint8Array> {
  const where = `${source.name}: ${shown(member.name)}`;
  const start = await dataStart(source, member, where);
  // The packed bytes, those that they become, and a copy in another type.
  requireMemoryFor(where, member.packed + 2 * member.size);
  const packed = await source.read(start, start + member.packed);
  const bytes = member.method === 0 ? packed : await inflate(packed, member.size, where);
  if (bytes.length !== member.size) {
    throw new WeightsError(`${where} becomes ${bytes.length} bytes, the archive says ${member.size}; it is damaged`);
  }
  if (crc32(bytes) !== member.crc)
    throw new WeightsError(`${where} has another CRC-32 than the archive says; it is damaged`);
  return bytes;
}

/**
 * Where a member's bytes start: behind a header of its own, whose name must be the same and whose extra field may be
 * another.
 */
async function dataStart(
  source: ByteSource,
  { name, packed, start, limit }: ZipMember,
  where: string,
): Promise<number> {
  const header = await source.read(start, start + LOCAL_HEADER);
  const view = new DataView(header.buffer, header.byteOffset, header.length);
  const [nameLength, extraLength] = [view.getUint16(26, true), view.getUint16(28, true)];
  const nameEnd = start + LOCAL_HEADER + nameLength;
  const from = nameEnd + extraLength;
  if (view.getUint32(0, true) !== 0x04034b50 || from + packed > limit) {
    throw new WeightsError(`${where} does not start at byte ${start} or does not fit there; the file is damaged`);
  }
  const local = Buffer.from(await source.read(start + LOCAL_HEADER, nameEnd));
  if (!local.equals(Buffer.from(name))) {
    throw new WeightsError(`${where} is called ${shown(local.toString())} where it starts; the file is damaged`);
  }
  return from;
}

const inflateAsync = promisify<Uint8Array, { maxOutputLength: number }, Uint8Array>(inflateRaw);

async function inflate(packed: Uint8Array, size: number, where: string): Promise<Uint8Array> {
  try {
    const bytes = await inflateAsync(packed, { maxOutputLength: Math.max(1, size) });
    return new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.length);
  } catch (error) {
    throw new WeightsError(`${where} cannot be unpacked to the ${size} bytes it should have (${reasonOf(error)})`);
  }
}
