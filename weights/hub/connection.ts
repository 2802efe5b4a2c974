import { setTimeout as sleep } from "node:timers/promises";
import { WeightsError } from "../errors.js";
import type { Token } from "./settings.js";

/** How long the Hub is waited for, in milliseconds. */
export interface Patience {
  /** Silence after which a connection counts as dead. */
  readonly stall: number;
  /** Failures in a row, without progress between them, after which it is over. */
  readonly failures: number;
  /** The same where the host cannot be reached at all: it does not exist, or refuses connections. */
  readonly unreachable: number;
  /** Bytes of a file that make the count of failures begin anew: a server that drips is not waited for endlessly. */
  readonly progress: number;
  /** Pause after the given number of failures in a row. */
  readonly pause: (failures: number) => number;
  /** Longest pause that a server may ask for. */
  readonly longestPause: number;
  /** How often a lock that somebody else holds is looked at. */
  readonly poll: number;
  /** Silence after which the holder of a lock counts as dead. */
  readonly lockSilence: number;
  /** Waits; throws the signal's reason at once when it is aborted. */
  readonly wait: (milliseconds: number, signal?: AbortSignal) => Promise<void>;
  /** A clock that never goes back. */
  readonly now: () => number;
}

/** Pauses of 1, 2, 4, 8, 8 seconds. */
export const PATIENCE: Patience = {
  stall: 30_000,
  failures: 5,
  unreachable: 5,
  progress: 2 ** 20,
  pause: (failures) => Math.min(8000, 500 * 2 ** failures),
  longestPause: 300_000,
  poll: 500,
  lockSilence: 60_000,
  wait: async (milliseconds, signal) => {
    await sleep(milliseconds, undefined, { signal }).catch(() => signal?.throwIfAborted());
  },
  now: () => performance.now(),
};

/** A Hub, who asks it, and how patiently. */
export interface HubConnection {
  readonly endpoint: string;
  readonly token: Token | null;
  readonly patience: Patience;
  /** Hears what a person who waits would want to know. */
  readonly onNotice: (text: string) => void;
}

/**
 * A failure that may pass: a connection that broke, a server that is busy. `pause` is what the server asks for, in
 * milliseconds.
 */
export class TransientError extends Error {
  constructor(
    message: string,
    readonly pause: number | null = null,
  ) {
    super(message);
  }
}

/** A failure to reach the host at all, which more often is a wrong address or no network than a pause. */
export class UnreachableError extends TransientError {}

/** The Hub could not be asked, or does not say: what is in the cache is then the best answer. */
export class HubUnavailableError extends WeightsError {}

/** The Hub could not be asked. */
export class HubSilentError extends HubUnavailableError {}

/**
 * Repeats `attempt` after a `TransientError`, with pauses that grow or that the server asked for, until
 * `patience.failures` failures in a row (`patience.unreachable` where the host cannot be reached); `attempt` calls
 * `progress` when it has come further. Any other error passes through; the last one becomes a `HubSilentError` that
 * begins with `what`. An aborted signal ends it at once.
 */
export async function withRetries<T>(
  { patience, onNotice }: HubConnection,
  what: string,
  signal: AbortSignal | undefined,
  attempt: (progress: () => void) => Promise<T>,
): Promise<T> {
  let failures = 0;
  for (;;) {
    signal?.throwIfAborted();
    try {
      return await attempt(() => (failures = 0));
    } catch (error) {
      signal?.throwIfAborted();
      if (!(error instanceof TransientError)) throw error;
      failures += 1;
      const pause = error.pause ?? patience.pause(failures);
      if (failures >= (error instanceof UnreachableError ? patience.unreachable : patience.failures)) {
        const tries = failures > 1 ? `; tried ${failures} times, run it again later` : "";
        throw new HubSilentError(`${what}: ${error.message}${tries}`);
      }
      const seconds = Number((pause / 1000).toFixed(1));
      if (pause > patience.longestPause) {
        throw new HubSilentError(`${what}: ${error.message}; the server asks to wait ${seconds} s, run it again then`);
      }
      onNotice(`${what}: ${error.message}; trying again in ${seconds} s`);
      await patience.wait(pause, signal);
    }
  }
}
