import { join } from "node:path";
import type { DType } from "./dtype.js";
import { WeightsError } from "./errors.js";
import { headerOf } from "./safetensors.js";
import { INDEX, SINGLE } from "./shard-index.js";
import { sizeOfTensor } from "./tensor-data.js";
import { writeWholeFile } from "./write-file.js";

/** A tensor to write: its name in the file, and its bytes, made when they are asked for. */
export interface TensorToWrite {
  readonly name: string;
  readonly dtype: DType;
  readonly shape: readonly number[];
  pieces(): AsyncIterable<Uint8Array>;
}

/** Files that were written, the index among them, and the bytes of all tensors. */
export type WrittenShards = { files: string[]; totalBytes: number };

/** What PyTorch's readers ask of a file. Source: transformers, modeling_utils.py, `save_pretrained`. */
const METADATA = { format: "pt" };

/** As many digits as transformers writes. */
const numbered = (number: number): string => String(number).padStart(5, "0");

/**
 * Writes tensors into `folder` as `model.safetensors`, or, where they exceed `maxShardBytes`, as shards of at most that
 * many bytes (a larger tensor has a shard of its own) with an index; a tensor at a time, of which `onBytes` hears in
 * pieces. Each file is written completely or not at all. Throws `WeightsError` when a tensor gives other bytes than
 * announced, or writing fails. Source: huggingface_hub 2.4, serialization/_base.py,
 * `split_state_dict_into_shards_factory`.
 */
export async function writeShards(
  folder: string,
  tensors: readonly TensorToWrite[],
  { maxShardBytes, onBytes = () => {} }: { maxShardBytes: number; onBytes?: (bytes: number) => void },
): Promise<WrittenShards> {
  const shards = split(tensors, maxShardBytes);
  const map = new Map<string, string>();
  const files: string[] = [];
  for (const [i, shard] of shards.entries()) {
    const file = shards.length === 1 ? SINGLE : `model-${numbered(i + 1)}-of-${numbered(shards.length)}.safetensors`;
    for (const { name } of shard) {
      if (map.has(name)) throw new WeightsError(`${folder}: two tensors are called ${name}`);
      map.set(name, file);
    }
    const path = join(folder, file);
    await writeWholeFile(path, fileOf(shard, path, onBytes));
    files.push(file);
  }
  const totalBytes = tensors.reduce((sum, tensor) => sum + sizeOf(tensor), 0);
  if (shards.length > 1) {
    const index = { metadata: { total_size: totalBytes }, weight_map: Object.fromEntries([...map].sort()) };
    await writeWholeFile(join(folder, INDEX), [new TextEncoder().encode(`${JSON.stringify(index, null, 2)}\n`)]);
    files.push(INDEX);
  }
  return { files, totalBytes };
}

const sizeOf = ({ name, dtype, shape }: TensorToWrite): number => sizeOfTensor(dtype, shape, name);

function split(tensors: readonly TensorToWrite[], most: number): TensorToWrite[][] {
  const shards: TensorToWrite[][] = [[]];
  let size = 0;
  for (const tensor of tensors) {
    const bytes = sizeOf(tensor);
    if (size + bytes > most && shards.at(-1)!.length > 0) {
      shards.push([]);
      size = 0;
    }
    shards.at(-1)!.push(tensor);
    size += bytes;
  }
  return shards;
}

async function* fileOf(
  tensors: readonly TensorToWrite[],
  where: string,
  onBytes: (bytes: number) => void,
): AsyncGenerator<Uint8Array> {
  const { header, order } = headerOf(tensors, METADATA, where);
  yield header;
  for (const tensor of order) {
    let given = 0;
    for await (const piece of tensor.pieces()) {
      yield piece;
      given += piece.length;
      onBytes(piece.length);
    }
    if (given !== sizeOf(tensor)) {
      throw new WeightsError(`${where}: tensor ${tensor.name} gave ${given} bytes, expected ${sizeOf(tensor)}`);
    }
  }
}
