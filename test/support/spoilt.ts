import { cpSync, readFileSync, writeFileSync } from "node:fs";
import path from "node:path";

import { fromFloat32 } from "../../weights/dtype.js";
import { readHeader } from "../../weights/safetensors.js";
import { memorySource } from "../../weights/source.js";

/** Copies a checkpoint of one safetensors file to `target`, with one number of a tensor changed. */
export async function spoiltCheckpoint(
  { from, target }: { from: string; target: string },
  { name, at, value }: { name: string; at: number; value: number },
): Promise<string> {
  cpSync(from, target, { recursive: true });
  const file = path.join(target, "model.safetensors");
  const bytes = readFileSync(file);
  const { start, dtype } = (await readHeader(memorySource(file, bytes))).tensors.get(name)!;
  const number = fromFloat32(Float32Array.of(value), dtype as "BF16" | "F32");
  bytes.set(number, start + number.byteLength * at);
  writeFileSync(file, bytes);
  return target;
}
