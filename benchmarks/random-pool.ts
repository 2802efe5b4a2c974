import type { Spread } from "./tensors.js";

/**
 * Values in the pool: a prime, so that no row of a matrix begins where another did, however often the pool is run
 * through.
 */
const POOL = 16_777_259;
/** From one tensor's place in the pool to the next; any number serves, as the pool's length is prime. */
const STRIDE = 10_368_889;

/**
 * Seeded normal values without end: made once from a counter, then read from a place of their own for each tensor. The
 * same seed gives the same values anywhere, and a tensor does not depend on those before it.
 */
export class RandomPool {
  private readonly normals: Float32Array;
  private readonly first: number;

  constructor(seed: number) {
    this.normals = normals(seed);
    this.first = hash(seed ^ 0x9e3779b9) % POOL;
  }

  /** The `count` values of tensor number `index` from value `start` on, spread as said. */
  values(index: number, start: number, count: number, { mean, deviation }: Spread): Float32Array {
    const values = new Float32Array(count);
    let at = (this.first + index * STRIDE + start) % POOL;
    for (let i = 0; i < count; i++) {
      values[i] = mean + deviation * this.normals[at];
      if (++at === POOL) at = 0;
    }
    return values;
  }
}

/** Box-Muller on pairs of hashed counters. */
function normals(seed: number): Float32Array {
  const key = hash(seed);
  const values = new Float32Array(POOL);
  for (let i = 0; i < POOL; i += 2) {
    const radius = Math.sqrt(-2 * Math.log((hash(key ^ i) + 1) / 2 ** 32));
    const angle = 2 * Math.PI * (hash(key ^ (i + 1)) / 2 ** 32);
    values[i] = radius * Math.cos(angle);
    if (i + 1 < POOL) values[i + 1] = radius * Math.sin(angle);
  }
  return values;
}

/** 32 bits of 32 bits. Source: the finaliser of MurmurHash3 (public domain). */
function hash(value: number): number {
  let h = value | 0;
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return (h ^ (h >>> 16)) >>> 0;
}
