import { fileURLToPath, pathToFileURL } from "node:url";

import { run as realRun, tail, type Run, type RunOptions } from "./process.js";

/** What a child process answers, or why it did not. */
export type ChildAnswer<Answer> = ({ ok: true } & Answer) | { ok: false; reason: string };

/** How lines of an answer begin: a child may print other things. */
const BEGINNING = '{"ok":';

/**
 * Runs a module of this project in a child process, with a request for it, and gives its answer (`answerParent`); never
 * throws: a native part can end the process that loads it, or never return.
 */
export async function askChild<Answer>(
  moduleUrl: string,
  request: object,
  { run = realRun, timeoutMs, env }: RunOptions & { run?: Run | undefined; timeoutMs: number },
): Promise<ChildAnswer<Answer>> {
  const file = fileURLToPath(moduleUrl);
  // In a checkout the module is TypeScript, and the child needs the same loader as this process.
  const loader = file.endsWith(".ts") ? ["--import", import.meta.resolve("tsx")] : [];
  const result = await run(process.execPath, [...loader, file, JSON.stringify(request)], { env, timeoutMs });
  const answer = result.stdout.split("\n").find((line) => line.startsWith(BEGINNING));
  if (answer) return JSON.parse(answer) as ChildAnswer<Answer>;
  return { ok: false, reason: result.timedOut ? `it did not end within ${timeoutMs / 1000} s` : tail(result) };
}

/** In a module that is a child's program: answers what it was asked. In one that is imported it does nothing. */
export async function answerParent<Request, Answer>(
  moduleUrl: string,
  answer: (request: Request) => Promise<ChildAnswer<Answer>>,
): Promise<void> {
  const [, program, request] = process.argv;
  if (!program || pathToFileURL(program).href !== moduleUrl) return;
  console.log(JSON.stringify(await answer(JSON.parse(request ?? "{}") as Request)));
}
