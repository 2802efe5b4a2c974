import { randomUUID } from "node:crypto";
import { mkdir, open, rm, stat, utimes } from "node:fs/promises";
import { dirname } from "node:path";
import { reasonOf } from "../bytes.js";
import { WeightsError } from "../errors.js";
import { readNote } from "../plain-file.js";
import { hasEnded, type ProcessMark, thisProcess } from "../process-mark.js";
import type { Patience } from "./connection.js";

/** Who holds a lock: written into its file. */
type Holder = Pick<ProcessMark, "pid" | "host"> & Partial<ProcessMark> & { readonly id: string };

/** The holder shows that it lives this many times in the silence after which it would count as dead. */
const BEATS = 4;

export interface LockOptions {
  readonly patience: Pick<Patience, "poll" | "lockSilence" | "wait" | "now">;
  readonly signal?: AbortSignal | undefined;
  /** Called once where somebody else holds it. */
  readonly onWait?: ((holder: string) => void) | undefined;
}

/**
 * Runs `body` while no other caller, in this process or another, runs one with the same `path`. The lock is a file that
 * its holder keeps touching. A holder on this machine whose process is gone, or any that has been silent for
 * `lockSilence`, has lost it. Throws the signal's reason while waiting, and `WeightsError` where the file cannot be
 * made.
 */
export async function withLock<T>(path: string, options: LockOptions, body: () => Promise<T>): Promise<T> {
  const mine: Holder = { id: randomUUID(), ...thisProcess() };
  await acquire(path, mine, options);
  const touch = (): void => void utimes(path, new Date(), new Date()).catch(() => {});
  const beat = setInterval(touch, options.patience.lockSilence / BEATS);
  beat.unref();
  try {
    return await body();
  } finally {
    clearInterval(beat);
    // Taken away from a holder that was silent for too long, it is somebody else's.
    if (parsed(await textOf(path))?.id === mine.id) await rm(path, { force: true }).catch(() => {});
  }
}

const unwritable = (path: string, error: unknown): WeightsError =>
  new WeightsError(`${path}: cannot be written (${reasonOf(error)})`);

async function acquire(path: string, mine: Holder, { patience, signal, onWait }: LockOptions): Promise<void> {
  await mkdir(dirname(path), { recursive: true }).catch((error: unknown) => {
    throw unwritable(path, error);
  });
  let seen = { state: "", since: patience.now() };
  for (let asked = false; ;) {
    signal?.throwIfAborted();
    if (await create(path, mine)) return;
    const text = await textOf(path);
    const state = await stateOf(path); // after the text: a state that has not changed is of the lock that was read
    if (state === null) continue; // given back just now
    if (state !== seen.state) seen = { state, since: patience.now() };
    const holder = parsed(text);
    const silence = patience.now() - seen.since;
    const lost = isGone(holder) || silence >= patience.lockSilence;
    if (lost && (await takeAway(path, text, mine, silence >= 2 * patience.lockSilence))) continue;
    if (!asked && !lost) onWait?.(holder ? `process ${holder.pid} on ${holder.host}` : "another process");
    asked ||= !lost;
    await patience.wait(patience.poll, signal);
  }
}

async function create(path: string, mine: Holder): Promise<boolean> {
  try {
    const handle = await open(path, "wx");
    try {
      await handle.writeFile(JSON.stringify(mine)).finally(() => handle.close());
    } catch (error) {
      await rm(path, { force: true }).catch(() => {}); // an empty one would be waited for
      throw error;
    }
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "EEXIST") return false;
    throw unwritable(path, error);
  }
}

/** Changes whenever the holder touches the file or the file is another; its own clock is never compared with ours. */
async function stateOf(path: string): Promise<string | null> {
  const info = await stat(path, { bigint: true }).catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT") return null;
    throw new WeightsError(`${path}: cannot be looked at (${reasonOf(error)})`);
  });
  return info && `${info.ino} ${info.mtimeNs}`;
}

const textOf = (path: string): Promise<string> => readNote(path).catch(() => "");

function parsed(text: string): Holder | null {
  try {
    const { id, pid, host, start = "", space = "" } = JSON.parse(text) as Partial<Holder>;
    const known = [id, host, start, space].every((part) => typeof part === "string");
    return known && Number.isSafeInteger(pid) && pid! > 0 ? { id: id!, pid: pid!, host: host!, start, space } : null;
  } catch {
    return null; // just being written, or damaged: silence will tell
  }
}

/** Whether it is certain that the holder's process has ended. */
const isGone = (holder: Holder | null): boolean => holder !== null && hasEnded(holder);

/**
 * Removes a lock that its holder has lost; false where somebody else is about to. One at a time, and after another
 * look: a newer lock must stay. `stuck`: who was about to has not come to it for long.
 */
async function takeAway(path: string, judged: string, mine: Holder, stuck: boolean): Promise<boolean> {
  const right = `${path}.taking`;
  if (stuck) await rm(right, { force: true });
  if (!(await create(right, mine))) {
    if (isGone(parsed(await textOf(right)))) await rm(right, { force: true });
    return false;
  }
  try {
    if ((await textOf(path)) === judged) await rm(path, { force: true });
    return true;
  } catch (error) {
    throw new WeightsError(`${path}: left behind, and cannot be removed (${reasonOf(error)})`);
  } finally {
    await rm(right, { force: true });
  }
}
