import { isMainThread, parentPort, Worker, workerData } from "node:worker_threads";

import type { BackendName } from "../../src/backends/backend.js";
import { PaliGemma } from "../../src/paligemma.js";

/** What a thread is to do: answer so many times about a picture; `stopEarly` ends it while it computes. */
export type ThreadTask = {
  backend: BackendName;
  model: string;
  image: string;
  prompt: string;
  answers: number;
  stopEarly?: boolean;
};

/**
 * Which threads a process starts: the tasks of a list at the same time, the lists one after another; then its main
 * thread answers.
 */
export type ThreadPlan = { rounds: ThreadTask[][]; main: ThreadTask };

const MOST_TOKENS = 6;

async function answer({ backend, model: folder, image, prompt, answers }: ThreadTask): Promise<number[][]> {
  const model = await PaliGemma.load(folder, { backend });
  const tokens: number[][] = [];
  for (let i = 0; i < answers; i++) {
    tokens.push((await model.generate({ image, prompt }, { maxNewTokens: MOST_TOKENS })).tokens);
    parentPort?.postMessage(tokens);
  }
  model.dispose();
  return tokens;
}

/** The answers of a task in a thread of its own, once the thread has ended. */
function inThread(task: ThreadTask): Promise<number[][]> {
  // In Node 20 a worker has no loader for TypeScript unless it registers one.
  const code = `import("tsx/esm/api").then(({ register }) => { register(); return import(${JSON.stringify(import.meta.url)}); });`;
  const worker = new Worker(code, { eval: true, workerData: task });
  return new Promise((resolve, reject) => {
    let tokens: number[][] = [];
    worker.on("message", (message: number[][]) => {
      tokens = message;
      if (task.stopEarly) setTimeout(() => void worker.terminate(), 1); // in the middle of its next answer
    });
    worker.once("error", reject);
    worker.once("exit", () => resolve(tokens));
  });
}

if (!isMainThread) {
  await answer(workerData as ThreadTask);
} else if (process.argv[2] !== undefined) {
  const { rounds, main } = JSON.parse(process.argv[2]) as ThreadPlan;
  const answers: number[][][] = [];
  for (const tasks of rounds) answers.push(...(await Promise.all(tasks.map(inThread))));
  answers.push(await answer(main));
  console.log(JSON.stringify(answers));
}
