import type { CheckpointEntry } from "./checkpoint-entry.js";

/**
 * What stands in front of a PaliGemma that is a part of a larger model: pi0 and pi0.5 of lerobot and openpi, and
 * lerobot's pi0-FAST.
 */
const EMBEDDED = /(?:^|\.)(?:paligemma_with_expert\.paligemma|pi0_paligemma)\./;
/** Canonical names of a PaliGemma's own tensors. */
const OWN = /^(?:language_model|vision_tower|multi_modal_projector)\./;

/**
 * Takes out of `entries` what a file holds beside a PaliGemma that lies in it as a part of a larger model, such as the
 * action expert of a robot policy, and returns the names in the file; none where the file is a PaliGemma and nothing
 * else.
 */
export function takeCompanions(entries: Map<string, CheckpointEntry>): string[] {
  if (![...entries.values()].some(({ name }) => EMBEDDED.test(name))) return [];
  const others = [...entries].filter(([canonical, { name }]) => !EMBEDDED.test(name) && !OWN.test(canonical));
  for (const [canonical] of others) entries.delete(canonical);
  return others.map(([, { name }]) => name);
}

/** Names of tensors by the first `depth` parts of their paths, with how many each has: "a.b.* (12), a.c (1)". */
export function grouped(names: readonly string[], depth = 3): string {
  const groups = new Map<string, number>();
  for (const name of names) {
    const parts = name.split(".");
    const start = parts.length > depth ? `${parts.slice(0, depth).join(".")}.*` : name;
    groups.set(start, (groups.get(start) ?? 0) + 1);
  }
  const listed = [...groups].map(([start, count]) => (count === 1 ? start : `${start} (${count})`));
  return listed.length > 20 ? `${listed.slice(0, 20).join(", ")} and ${listed.length - 20} more` : listed.join(", ");
}
