import { availableParallelism, totalmem } from "node:os";
import { Worker } from "node:worker_threads";

import "../../weights/node-memory.js";
import { availableBytes } from "../../weights/available-memory.js";

/** Most bytes of a block: two of them are far beyond any processor's cache of its own. */
const LARGEST = 2 ** 28;

/**
 * A thread's program: `memcmp` of two blocks again and again. They are written first, so that they are not one page of
 * zeros.
 */
const PROGRAM = `
const { parentPort, workerData: { bytes, milliseconds, gate } } = require("node:worker_threads");
const [a, b] = [Buffer.alloc(bytes, 1), Buffer.alloc(bytes, 1)];
const started = new Int32Array(gate);
parentPort.postMessage("ready");
Atomics.wait(started, 0, 0);
const from = performance.now();
let blocks = 0;
while (performance.now() - from < milliseconds) {
  a.compare(b);
  blocks += 2;
}
parentPort.postMessage((blocks * bytes) / 1e6 / (performance.now() - from));
`;

/**
 * How fast all processors together read memory, in GB/s: a thread for each compares two large blocks again and again,
 * which the C library does at the memory's pace, all of them during the same `milliseconds`. It takes at most a quarter
 * of the memory that is available.
 */
export async function memoryBandwidth(milliseconds: number): Promise<number> {
  const threads = availableParallelism();
  const room = Math.min(availableBytes(), totalmem()) / 4;
  const bytes = Math.floor(Math.min(LARGEST, room / threads / 2));
  const gate = new SharedArrayBuffer(4);
  const workers = Array.from(
    { length: threads },
    () => new Worker(PROGRAM, { eval: true, workerData: { bytes, milliseconds, gate } }),
  );
  try {
    await Promise.all(workers.map(nextMessage));
    const measured = Promise.all(workers.map(nextMessage));
    Atomics.store(new Int32Array(gate), 0, 1);
    Atomics.notify(new Int32Array(gate), 0);
    return (await measured).reduce<number>((sum, rate) => sum + Number(rate), 0);
  } finally {
    await Promise.all(workers.map((worker) => worker.terminate()));
  }
}

const nextMessage = (worker: Worker): Promise<unknown> =>
  new Promise((resolve, reject) => worker.once("message", resolve).once("error", reject));
