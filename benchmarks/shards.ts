import { type FileHandle, open } from "node:fs/promises";

import { bytesOf, type FloatDType } from "../weights/dtype.js";

/** No file of a published checkpoint is larger. */
const MAX_SHARD_BYTES = 5e9;

/** A tensor of a shard, by name and shape. */
type Named = { name: string; shape: number[] };

/** Gives the bytes of a tensor piece by piece. */
export type Fill<T> = (tensor: T) => Iterable<Uint8Array>;

/** Bytes of a tensor's data. */
export const sizeOf = ({ shape }: Named, dtype: FloatDType): number =>
  shape.reduce((product, axis) => product * axis, bytesOf(dtype));

/**
 * Distributes tensors over files, in order, each file as full as it may be. Source: huggingface_hub,
 * `split_state_dict_into_shards`.
 */
export function planShards<T extends Named>(tensors: readonly T[], dtype: FloatDType): T[][] {
  const shards: T[][] = [[]];
  let bytes = 0;
  for (const tensor of tensors) {
    const size = sizeOf(tensor, dtype);
    if (bytes + size > MAX_SHARD_BYTES) {
      shards.push([]);
      bytes = 0;
    }
    shards.at(-1)!.push(tensor);
    bytes += size;
  }
  // Within a file safetensors sorts by name.
  return shards.map((shard) => shard.sort((a, b) => (a.name < b.name ? -1 : 1)));
}

/** Writes one safetensors file and holds no more of it than two pieces: one is made while the other is written. */
export async function writeShard<T extends Named>(
  path: string,
  tensors: readonly T[],
  dtype: FloatDType,
  fill: Fill<T>,
): Promise<void> {
  const handle = await open(path, "wx");
  try {
    let written = writeAll(handle, header(tensors, dtype));
    for (const tensor of tensors) {
      for (const piece of fill(tensor)) {
        await written;
        written = writeAll(handle, piece);
        written.catch(() => {}); // reported where it is awaited
      }
    }
    await written;
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/** 8 bytes length, then JSON padded with spaces to a multiple of 8. */
function header(tensors: readonly Named[], dtype: FloatDType): Uint8Array {
  const entries: Record<string, object> = { __metadata__: { format: "pt" } };
  let at = 0;
  for (const tensor of tensors) {
    const start = at;
    at += sizeOf(tensor, dtype);
    entries[tensor.name] = { dtype, shape: tensor.shape, data_offsets: [start, at] };
  }
  const text = JSON.stringify(entries);
  const bytes = Buffer.alloc(8 + Math.ceil(text.length / 8) * 8, " ");
  bytes.writeBigUInt64LE(BigInt(bytes.length - 8));
  bytes.write(text, 8, "latin1");
  return bytes;
}

async function writeAll(handle: FileHandle, bytes: Uint8Array): Promise<void> {
  for (let at = 0; at < bytes.length;) {
    const { bytesWritten } = await handle.write(bytes, at, bytes.length - at);
    at += bytesWritten;
  }
}
