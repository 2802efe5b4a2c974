import path from "node:path";

import { cruise, type ICruiseResult } from "dependency-cruiser";

import config, { ROOMS } from "../../.dependency-cruiser.mjs";
import { packageRoot } from "../../src/base/package-root.js";

/** Files of the product with what each imports, and what the rules of .dependency-cruiser.mjs say against them. */
export async function cruiseProduct(root = packageRoot()): Promise<ICruiseResult> {
  const options = { ...config.options, ruleSet: { forbidden: config.forbidden! }, validate: true, baseDir: root };
  const { output } = await cruise(["src", "layers", "weights"], options, {}, { tsConfig: undefined });
  return output as ICruiseResult;
}

/** How many imports lead from one room of `src` into another: "from to" -> count. */
export function importsBetweenRooms({ modules }: ICruiseResult): Map<string, number> {
  const counts = new Map<string, number>();
  for (const { source, dependencies } of modules) {
    for (const { resolved } of dependencies) {
      const [from, to] = [roomOf(source), roomOf(resolved)];
      if (from === null || to === null || from === to) continue;
      const key = `${from} ${to}`;
      counts.set(key, (counts.get(key) ?? 0) + 1);
    }
  }
  return counts;
}

/** The rooms that lie on a circle: from each of them imports lead back to it. */
export function roomsInCircles(imports: ReadonlyMap<string, number>): string[] {
  const next = new Map<string, string[]>();
  for (const key of imports.keys()) {
    const [from, to] = key.split(" ") as [string, string];
    next.set(from, [...(next.get(from) ?? []), to]);
  }
  const reaches = (from: string, goal: string, seen: Set<string>): boolean =>
    (next.get(from) ?? []).some((to) => to === goal || (!seen.has(to) && reaches(to, goal, seen.add(to))));
  return ROOMS.filter((room) => reaches(room, room, new Set()));
}

function roomOf(file: string): string | null {
  const [top, room] = file.split(path.posix.sep);
  return top === "src" && ROOMS.includes(room!) ? room! : null;
}
