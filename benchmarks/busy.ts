import { readFileSync } from "node:fs";

/** Of a second, in which the kernel counts. */
const TICKS = 100;

/**
 * Seconds that all processors together have been busy since the system started, the time that a virtual machine's host
 * took away included; null where the system does not say.
 */
export function busySeconds(): number | null {
  try {
    const [line] = readFileSync("/proc/stat", "utf8").split("\n");
    const [user, nice, system, , , irq, softirq, steal] = line.trim().split(/\s+/).slice(1).map(Number);
    return (user + nice + system + irq + softirq + steal) / TICKS;
  } catch {
    return null; // not Linux
  }
}
