import { setTimeout } from "node:timers/promises";

// One process of bandwidth.ts: the argument is when to begin, in milliseconds since 1970; what is printed is GB/s.

/** Far beyond any cache. */
const BLOCK = 2 ** 29;
const MILLISECONDS = 2000;

const [a, b] = [Buffer.alloc(BLOCK, 1), Buffer.alloc(BLOCK, 1)]; // written, so that they are not one page of zeros
await setTimeout(Math.max(0, Number(process.argv[2]) - Date.now()));
const start = performance.now();
let blocks = 0;
while (performance.now() - start < MILLISECONDS) {
  a.compare(b);
  blocks += 2;
}
console.log((blocks * BLOCK) / 1e6 / (performance.now() - start));
