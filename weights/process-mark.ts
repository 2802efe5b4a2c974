import { createHash } from "node:crypto";
import { readFileSync, readlinkSync } from "node:fs";
import { hostname } from "node:os";

/**
 * A process, told apart from every other: also from one that has the same number later, or on another machine that
 * shares a folder.
 */
export interface ProcessMark {
  readonly pid: number;
  readonly host: string;
  /**
   * When it began, in a spelling that only equality is asked of; "" where the system does not say, and anywhere but on
   * Linux.
   */
  readonly start: string;
  /**
   * The space that the number counts in: containers with one host name have one each. "" where the system does not say.
   */
  readonly space: string;
}

/** The running process. */
export const thisProcess = (): ProcessMark => ({ pid: process.pid, ...here(), start: startOf(process.pid) ?? "" });

/**
 * Whether it is certain that a process has ended: it counts in the space of this one, and its number is free, belongs
 * to a process that began at another time, or to one that only waits to be reaped. Parts of a mark that are absent or
 * "" say nothing.
 */
export function hasEnded(mark: Pick<ProcessMark, "pid" | "host"> & Partial<ProcessMark>): boolean {
  const { host, space } = here();
  if (mark.host !== host || (mark.space && mark.space !== space)) return false;
  if (!isThere(mark.pid)) return true;
  const start = startOf(mark.pid);
  return start === null || Boolean(mark.start && start && start !== mark.start);
}

const here = (): Pick<ProcessMark, "host" | "space"> => ({
  host: hostname(),
  space: read(() => readlinkSync("/proc/self/ns/pid")),
});

function isThere(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code !== "ESRCH";
  }
}

/**
 * Null for a process that has ended and was not reaped. Source: proc_pid_stat(5), fields 3 (state) and 22 (start in
 * ticks since boot).
 */
function startOf(pid: number): string | null {
  const stat = read(() => readFileSync(`/proc/${pid}/stat`, "latin1"));
  if (stat === "") return "";
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" "); // the program's name before may hold anything
  if (fields[0] === "Z" || fields[0] === "X") return null;
  const boot = read(() => readFileSync("/proc/sys/kernel/random/boot_id", "latin1").trim());
  return `${shortHash(boot)}${Number(fields[19]).toString(36)}`;
}

function read(from: () => string): string {
  try {
    return from();
  } catch {
    return "";
  }
}

/** 32 bits as hexadecimal digits. */
const shortHash = (text: string): string => createHash("sha256").update(text).digest("hex").slice(0, 8);

/** A mark as a part of a file's name, without a dot: `{pid}-{start}-{host and space, hashed}`. */
export const markName = ({ pid, host, start, space }: ProcessMark): string =>
  `${pid}-${start || 0}-${shortHash(`${host} ${space}`)}`;

/** Whether a mark in a file's name is that of a process that has certainly ended. */
export function isOfEnded(name: string): boolean {
  const [, pid, start, where] = /^(\d+)-(\w+)-([0-9a-f]{8})$/.exec(name) ?? [];
  const own = thisProcess();
  if (pid === undefined || where !== shortHash(`${own.host} ${own.space}`)) return false;
  return hasEnded({ pid: Number(pid), host: own.host, start: start === "0" ? "" : start });
}
