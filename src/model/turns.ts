import * as tf from "@tensorflow/tfjs";

/** A computation that may pause between its steps. At a pause it holds no tidy open, and owns what it needs further. */
export type Steps<Result> = Generator<void, Result, void>;

/** A backend whose kernels run beside JavaScript registers when they are done, beside the kernels themselves. */
export type IdleBackend = { whenIdle?: () => Promise<unknown> };

/**
 * Resolves when the current backend has computed what was asked of it; at the next turn of the event loop where it
 * computes at once.
 */
export const whenIdle = (): Promise<unknown> => (tf.backend() as IdleBackend).whenIdle?.() ?? nextTurn();

// A browser has no setImmediate.
const nextTurn = (): Promise<void> =>
  new Promise((resolve) => void (typeof setImmediate === "function" ? setImmediate(resolve) : setTimeout(resolve)));

/** How steps are taken with pauses. */
export type TurnOptions = {
  /** Stops between two steps: the promise then rejects with the signal's reason. */
  signal?: AbortSignal | undefined;
  /** Pause at every step; else only when so much time has passed that a timer would notice. */
  everyStep: boolean;
  /** Called before each step: in a pause others have run, who may have changed the backend. */
  resume: () => void;
};

/** Longest time without a pause, in milliseconds. */
const MAX_TURN = 10;

/** Takes every step without a pause. */
export function atOnce<Result>(steps: Steps<Result>): Result {
  for (;;) {
    const { done, value } = steps.next();
    if (done) return value;
  }
}

/**
 * Takes the steps with pauses in which the event loop runs; resolves when the backend has computed the result.
 * JavaScript is one turn ahead of the kernels, so that they need not wait for it.
 */
export async function inTurns<Result>(
  steps: Steps<Result>,
  { signal, everyStep, resume }: TurnOptions,
): Promise<Result> {
  let turn = performance.now();
  let turnBefore: Promise<unknown> | undefined;
  try {
    for (;;) {
      signal?.throwIfAborted();
      resume();
      const { done, value } = steps.next();
      if (done) {
        await whenIdle();
        try {
          resume();
        } catch (error) {
          tf.dispose(value as tf.TensorContainer);
          throw error;
        }
        return value;
      }
      if (!everyStep && performance.now() - turn < MAX_TURN) continue;
      const thisTurn = whenIdle();
      await turnBefore;
      await nextTurn();
      turnBefore = thisTurn;
      turn = performance.now();
    }
  } catch (error) {
    steps.return(undefined as Result); // frees what it holds
    throw error;
  }
}

/**
 * What `compute` returns, as a tensor of the caller's own; `old` is freed, also where the result shares its numbers.
 */
export function replace(old: tf.Tensor, compute: () => tf.Tensor): tf.Tensor {
  try {
    return tf.tidy(() => compute().clone()); // a tap may have put in a tensor that is somebody else's
  } finally {
    old.dispose();
  }
}
