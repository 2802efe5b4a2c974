import { stat } from "node:fs/promises";

import { type LockOptions, withLock } from "../../weights/hub/lock.js";
import { PATIENCE } from "../../weights/hub/connection.js";
import { readNote } from "../../weights/plain-file.js";
import { InputError } from "../base/errors.js";

/** How the lock of an output is waited for. */
export type OutputLockOptions = {
  signal?: AbortSignal | undefined;
  /** Hears that somebody else holds the lock, and what is done about it. */
  onNotice?: ((text: string) => void) | undefined;
  /** Default: looks twice a second; a holder that has been silent for a minute is dead. */
  patience?: LockOptions["patience"] | undefined;
};

/**
 * Runs `body` while no other process writes to `file`: a lock file beside it, `{file}.lock`, names the process that
 * does, which keeps touching it. One whose process is gone, or that has been silent for a minute, is taken over. One
 * that is touched while it is watched is alive: `InputError`. `body` gets a check that throws `InputError` once another
 * process has taken the lock from this one, which must have been stopped for that long.
 */
export async function withOutputLock<T>(
  file: string,
  { signal, onNotice = () => {}, patience = PATIENCE }: OutputLockOptions,
  body: (check: () => Promise<void>) => Promise<T>,
): Promise<T> {
  const lock = `${file}.lock`;
  let holder = "";
  const watch = watcher(lock, () => {
    throw new InputError(`${file}: ${holder} is writing to it; let it end, or give another --out or --shard`);
  });
  const options: LockOptions = {
    signal,
    patience: {
      ...patience,
      wait: async (milliseconds, waiting) => {
        await watch();
        await patience.wait(milliseconds, waiting);
      },
    },
    onWait: (who) => {
      holder = who;
      const seconds = Math.round(patience.lockSilence / 1000);
      onNotice(`${file}: locked by ${who}; waiting up to ${seconds} s to see whether it is alive`);
    },
  };
  return withLock(lock, options, async () => {
    const mine = await readNote(lock);
    return body(async () => {
      if ((await readNote(lock).catch(() => "")) === mine) return;
      throw new InputError(`${file}: another process has taken its lock; this one was silent for too long, and ends`);
    });
  });
}

// Calls `onTouch` when the file changes between two calls.
function watcher(file: string, onTouch: () => void): () => Promise<void> {
  let first: bigint | null = null;
  return async () => {
    const now = await stat(file, { bigint: true }).catch(() => null);
    if (now === null) return;
    if (first !== null && now.mtimeNs !== first) onTouch();
    first = now.mtimeNs;
  };
}
