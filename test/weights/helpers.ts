import assert from "node:assert/strict";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { WeightsError, encodeSafetensors, type ByteSource, type TensorData } from "../../weights/index.js";

/** A validator for assert.throws and assert.rejects: a WeightsError whose message matches every pattern. */
export const weightsError =
  (...patterns: RegExp[]) =>
  (error: unknown): true => {
    assert.ok(error instanceof WeightsError, `expected a WeightsError, got ${String(error)}`);
    for (const pattern of patterns) assert.match(error.message, pattern);
    return true;
  };

/** A safetensors file with any header text or object and any data, lies included. */
export function fileOf(header: string | object, data: Uint8Array = new Uint8Array(0), length?: bigint): Uint8Array {
  const text = new TextEncoder().encode(typeof header === "string" ? header : JSON.stringify(header));
  const bytes = new Uint8Array(8 + text.length + data.length);
  new DataView(bytes.buffer).setBigUint64(0, length ?? BigInt(text.length), true);
  bytes.set(text, 8);
  bytes.set(data, 8 + text.length);
  return bytes;
}

/** Notes every range that is read. */
export function counting(source: ByteSource): ByteSource & { ranges: [number, number][]; bytes(): number } {
  const ranges: [number, number][] = [];
  return {
    name: source.name,
    size: source.size,
    ranges,
    bytes: () => ranges.reduce((sum, [start, end]) => sum + end - start, 0),
    read: (start, end) => {
      ranges.push([start, end]);
      return source.read(start, end);
    },
    close: () => source.close(),
  };
}

/** Repeatable random numbers in 0..1. Source: the mulberry32 generator, public domain. */
export function randomOf(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

export const randomBytes = (length: number, random: () => number): Uint8Array =>
  Uint8Array.from({ length }, () => Math.floor(random() * 256));

/** A copy with one to three bytes changed, often by a single bit. */
export function damaged(bytes: Uint8Array, random: () => number): Uint8Array {
  const copy = bytes.slice();
  for (let count = 1 + Math.floor(random() * 3); count > 0; count--) {
    const at = Math.floor(random() * copy.length);
    copy[at] = random() < 0.5 ? copy[at] ^ (1 << Math.floor(random() * 8)) : Math.floor(random() * 256);
  }
  return copy;
}

/** Random f32 values as a tensor to write. */
export function f32(shape: number[], random: () => number): TensorData {
  const size = shape.reduce((product, axis) => product * axis, 1);
  return { dtype: "F32", shape, data: Float32Array.from({ length: size }, () => random() * 4 - 2) };
}

/** Runs `body` with a folder of these files (objects are written as JSON, maps as safetensors) and removes it. */
export async function withFolder(
  files: Record<string, Uint8Array | object | string>,
  body: (path: string) => Promise<void>,
): Promise<void> {
  const path = await mkdtemp(join(tmpdir(), "weights-test-"));
  try {
    for (const [name, content] of Object.entries(files)) {
      const plain = content instanceof Uint8Array || typeof content === "string";
      const other = content instanceof Map ? encodeSafetensors(content) : JSON.stringify(content);
      await writeFile(join(path, name), plain ? content : other);
    }
    await body(path);
  } finally {
    await rm(path, { recursive: true, force: true });
  }
}
