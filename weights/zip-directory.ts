import { WeightsError } from "./errors.js";
import { kindOf } from "./foreign-file.js";
import { decodeUtf8, shown } from "./json.js";
import type { ByteSource } from "./byte-source.js";

/**
 * Longest list of members that is read, in bytes, and most members: PaliGemma 2 28B has about 100 arrays, with its
 * optimizer 300.
 */
export const MAX_DIRECTORY_BYTES = 2 ** 24;
export const MAX_MEMBERS = 20_000;

/** A member as the archive's central directory describes it. */
export interface ZipMember {
  readonly name: string;
  /** 0 stored, 8 deflated. */
  readonly method: number;
  readonly crc: number;
  /** Bytes in the archive. */
  readonly packed: number;
  /** Bytes of the member itself. */
  readonly size: number;
  /** Where its local header starts. */
  readonly start: number;
  /** Where the next member or the directory starts. */
  readonly limit: number;
}

/** Lengths of the fixed parts. Source: PKWARE APPNOTE 6.3.10, sections 4.3.7 and 4.3.14 to 4.3.16. */
export const LOCAL_HEADER = 30;
const END = 22;
const LOCATOR = 20;
const END_64 = 56;

/** What a field of 4 bytes holds when the value stands in a zip64 record. */
const SEE_64 = 0xffffffff;

/**
 * The members of a zip archive in the order of their places, from the central directory alone; zip64 is read. Throws
 * `WeightsError` naming the file for what is no archive or cut off, for several disks, encryption, other methods than
 * stored and deflated, a name twice, and members that overlap or leave the archive. Source: PKWARE APPNOTE 6.3.10.
 */
export async function readDirectory(source: ByteSource): Promise<ZipMember[]> {
  const { count, start, end } = await findDirectory(source);
  if (count > MAX_MEMBERS) {
    throw new WeightsError(`${source.name}: its list has ${count} members, at most ${MAX_MEMBERS} are read`);
  }
  if (end - start > MAX_DIRECTORY_BYTES) {
    throw new WeightsError(
      `${source.name}: its list of members has ${end - start} bytes, at most ${MAX_DIRECTORY_BYTES} are read`,
    );
  }
  const reader = new Fields(await source.read(start, end), `${source.name}: the zip archive's list of members`);
  const members: Omit<ZipMember, "limit">[] = [];
  const names = new Set<string>();
  while (!reader.atEnd && members.length <= count) {
    const member = readEntry(reader);
    if (names.has(member.name)) throw reader.error(`has ${shown(member.name)} twice; which one counts is not defined`);
    names.add(member.name);
    members.push(member);
  }
  if (members.length !== count) throw reader.error(`has ${members.length} entries and announces ${count}`);
  return placed(members, start, source.name);
}

type Directory = { count: number; start: number; end: number };

async function findDirectory(source: ByteSource): Promise<Directory> {
  const tailStart = Math.max(0, source.size - END - 0xffff - LOCATOR);
  const tail = await source.read(tailStart, source.size);
  const at = findEnd(tail);
  if (at < 0) {
    const kind = await kindOf(source);
    const isZip = kind === null || kind.startsWith("a zip archive");
    throw new WeightsError(
      isZip
        ? `${source.name} is no zip archive, or its end is cut off`
        : `${source.name}: expected a zip archive, found ${kind}`,
    );
  }
  const fields = new Fields(tail.subarray(at), `${source.name}: the end of the zip archive`);
  fields.skip(4);
  const disks = [fields.u16(), fields.u16()];
  const [here, count, size, start] = [fields.u16(), fields.u16(), fields.u32(), fields.u32()];
  const directory = { count, start, end: tailStart + at };
  const before = tail.subarray(Math.max(0, at - LOCATOR), at);
  const maxed = [count, here].includes(0xffff) || [size, start].includes(SEE_64);
  if (maxed || isLocator(before)) return findDirectory64(source, before, directory.end);
  return checkDirectory(directory, size, here, disks, fields);
}

/** The last place where the record that ends an archive fits with the length of its comment; -1 when there is none. */
function findEnd(tail: Uint8Array): number {
  const view = new DataView(tail.buffer, tail.byteOffset, tail.length);
  for (let at = tail.length - END; at >= 0; at--) {
    const signature = tail[at] === 0x50 && view.getUint32(at, true) === 0x06054b50;
    if (signature && at + END + view.getUint16(at + 20, true) === tail.length) return at;
  }
  return -1;
}

const isLocator = (bytes: Uint8Array): boolean =>
  bytes.length === LOCATOR && new DataView(bytes.buffer, bytes.byteOffset).getUint32(0, true) === 0x07064b50;

/**
 * As `findDirectory`, for an archive that is too large for the old record: a locator in front of that says where the
 * new one is.
 */
async function findDirectory64(source: ByteSource, before: Uint8Array, end: number): Promise<Directory> {
  const where = `${source.name}: the end of the zip64 archive`;
  const locator = new Fields(before, where);
  if (!isLocator(before)) throw locator.error("has no locator; the file is damaged");
  locator.skip(8);
  const start = locator.u64();
  if (start + END_64 > end - LOCATOR) throw locator.error(`should be at byte ${start}, where no room is for it`);
  const record = new Fields(await source.read(start, start + END_64), where);
  if (record.u32() !== 0x06064b50) throw record.error(`should be at byte ${start}, where something else is`);
  record.skip(12);
  const disks = [record.u32(), record.u32()];
  const [here, count, size, directoryStart] = [record.u64(), record.u64(), record.u64(), record.u64()];
  return checkDirectory({ count, start: directoryStart, end: start }, size, here, disks, record);
}

function checkDirectory(found: Directory, size: number, here: number, disks: number[], fields: Fields): Directory {
  if (disks.some((disk) => disk !== 0) || here !== found.count) throw fields.error("speaks of several disks");
  if (found.start + size !== found.end) {
    const place = `${size} bytes at byte ${found.start}`;
    throw fields.error(`gives its list of members ${place}, which should end at ${found.end}; the file is damaged`);
  }
  return found;
}

function readEntry(fields: Fields): Omit<ZipMember, "limit"> {
  if (fields.u32() !== 0x02014b50) throw fields.error("has an entry without its signature; the file is damaged");
  fields.skip(4);
  const [flags, method] = [fields.u16(), fields.u16()];
  fields.skip(4);
  const [crc, packed, size] = [fields.u32(), fields.u32(), fields.u32()];
  const [nameLength, extraLength, commentLength, disk] = [fields.u16(), fields.u16(), fields.u16(), fields.u16()];
  fields.skip(6);
  const start = fields.u32();
  const name = decodeUtf8(fields.take(nameLength), `${fields.where}: a name`);
  const member = { name, method, crc, ...readExtra({ size, packed, start }, fields.part(extraLength)) };
  fields.skip(commentLength);
  const fault = (what: string) => new WeightsError(`${fields.where}: ${shown(name)} ${what}`);
  if (flags & 1) throw fault("is encrypted, which is not read");
  if (method !== 0 && method !== 8) throw fault(`is packed by method ${method}, expected 0 (stored) or 8 (deflated)`);
  if (disk !== 0) throw fault("is on another disk");
  if (method === 0 && member.size !== member.packed) {
    throw fault(`is stored, and has ${member.packed} bytes in the archive for ${member.size} of its own`);
  }
  return member;
}

type Sizes = Pick<ZipMember, "size" | "packed" | "start">;

/** Takes what does not fit in 4 bytes from the extra field of zip64, which holds only that, in this order. */
function readExtra(sizes: Sizes, extra: Fields): Sizes {
  const wanted = (["size", "packed", "start"] as const).filter((key) => sizes[key] === SEE_64);
  const result = { ...sizes };
  while (wanted.length > 0) {
    if (extra.atEnd) throw extra.error("has a member without its zip64 sizes");
    const [id, length] = [extra.u16(), extra.u16()];
    const field = extra.part(length);
    if (id === 1) for (const key of wanted.splice(0)) result[key] = field.u64();
  }
  return result;
}

/**
 * Members by place, each with its limit. A small archive could describe one member's bytes many times: none may
 * overlap.
 */
function placed(members: Omit<ZipMember, "limit">[], directoryStart: number, name: string): ZipMember[] {
  const sorted = members.sort((a, b) => a.start - b.start);
  return sorted.map((member, i) => {
    const limit = sorted[i + 1]?.start ?? directoryStart;
    if (member.start + LOCAL_HEADER + member.packed > limit) {
      const range = `${member.packed} bytes from byte ${member.start}`;
      throw new WeightsError(`${name}: ${shown(member.name)} has ${range}, which must end before ${limit}; damaged`);
    }
    return { ...member, limit };
  });
}

/** Reads numbers one after another, low byte first, and never past the end. */
class Fields {
  private at = 0;
  private readonly view: DataView;

  constructor(
    private readonly bytes: Uint8Array,
    readonly where: string,
  ) {
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  }
  get atEnd(): boolean {
    return this.at === this.bytes.length;
  }
  error(what: string): WeightsError {
    return new WeightsError(`${this.where} ${what}`);
  }
  skip(length: number): number {
    if (this.at + length > this.bytes.length) throw this.error("is cut off or damaged");
    this.at += length;
    return this.at - length;
  }
  take(length: number): Uint8Array {
    const from = this.skip(length);
    return this.bytes.subarray(from, from + length);
  }
  part(length: number): Fields {
    return new Fields(this.take(length), this.where);
  }
  u16(): number {
    return this.view.getUint16(this.skip(2), true);
  }
  u32(): number {
    return this.view.getUint32(this.skip(4), true);
  }
  u64(): number {
    const value = Number(this.view.getBigUint64(this.skip(8), true));
    if (!Number.isSafeInteger(value)) throw this.error(`has the number ${value}, more than can be counted`);
    return value;
  }
}
