import { setTimeout } from "node:timers/promises";

// One process of bandwidth.ts: the arguments are when to begin, in milliseconds since 1970, and the bytes of a block; what is
// printed is GB/s.

const MILLISECONDS = 2000;

const [startAt, blockBytes] = process.argv.slice(2).map(Number);
const [a, b] = [Buffer.alloc(blockBytes, 1), Buffer.alloc(blockBytes, 1)]; // written, so that they are not one page of zeros
await setTimeout(Math.max(0, startAt - Date.now()));
const start = performance.now();
let blocks = 0;
while (performance.now() - start < MILLISECONDS) {
  a.compare(b);
  blocks += 2;
}
console.log((blocks * blockBytes) / 1e6 / (performance.now() - start));
