/** Events of the process that the wasm backend listens to as it starts, and rethrows. */
const EVENTS = ["uncaughtException", "unhandledRejection"] as const;

/**
 * Runs `start` and takes away what it has made the process listen to: a host with listeners of its own would otherwise
 * end at the first rejection that it would only have logged. Source: emscripten's prelude in tfjs-backend-wasm 4.22.
 */
export async function withoutNewListeners<Result>(start: () => Promise<Result>): Promise<Result> {
  const before = EVENTS.map((event) => new Set(process.listeners(event as "uncaughtException")));
  try {
    return await start();
  } finally {
    EVENTS.forEach((event, i) => {
      for (const listener of process.listeners(event as "uncaughtException")) {
        if (!before[i]!.has(listener)) process.removeListener(event, listener);
      }
    });
  }
}
