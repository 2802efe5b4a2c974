import path from "node:path";

import { crc32 } from "../../weights/crc32.js";
import { InputError } from "../base/errors.js";
import { checkOptions, number, type OptionKinds } from "../base/options.js";

/** Part `index` of `count` parts of a file's lines; 0 <= index < count. */
export type Shard = { readonly index: number; readonly count: number };

const SHARD_KINDS: OptionKinds<Shard> = { index: number, count: number };

/** A run without shards. */
export const WHOLE: Shard = { index: 0, count: 1 };

/** Reads "i/N". Throws `InputError` unless both are whole numbers and 0 <= i < N <= 2^32. */
export function parseShard(text: string): Shard {
  const found = /^(\d{1,10})\/(\d{1,10})$/.exec(text);
  return checkedShard({ index: found ? Number(found[1]) : NaN, count: found ? Number(found[2]) : NaN }, text);
}

/** The shard itself. Throws `InputError` unless it is one; `text` is what was received. */
export function checkedShard(shard: Shard, text?: string): Shard {
  const { index, count } = checkOptions("shard", shard, SHARD_KINDS);
  const whole = Number.isSafeInteger(index) && Number.isSafeInteger(count);
  if (whole && index >= 0 && index < count && count <= 2 ** 32) return shard;
  throw new InputError(
    `shard: expected i/N with whole numbers and 0 <= i < N, received ${JSON.stringify(text ?? `${index}/${count}`)}`,
  );
}

/**
 * Which of `count` shards the line with this id belongs to: CRC-32 of the id in UTF-8, modulo `count`. It depends on
 * nothing else, so that a line stays in its shard whatever is added to the file. In Python: `zlib.crc32(id.encode()) %
 * count`.
 */
export function shardOf(id: string, count: number): number {
  return crc32(Buffer.from(id)) % count;
}

/**
 * The file of one shard's answers: `out.jsonl` itself where there is one, else `out.00000-of-00002.jsonl` beside it.
 */
export function shardFile(out: string, { index, count }: Shard): string {
  if (count === 1) return out;
  const { dir, name, ext } = path.parse(out);
  const [i, n] = [index, count].map((value) => String(value).padStart(5, "0"));
  return path.join(dir, `${name}.${i}-of-${n}${ext}`);
}
