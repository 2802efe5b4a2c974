import { type CheckpointEntry, sameShape } from "./checkpoint-entry.js";
import { EMBEDDING, LM_HEAD } from "./names.js";
import type { ByteSource } from "./byte-source.js";
import { sameBytes } from "./staging.js";

/**
 * What the output head of a checkpoint is: the token table; a tensor of its own; or, where only headers are read, one
 * beside a token table that it may or may not be equal to.
 */
export type OutputHead = "embedding" | "own" | "not compared";

/** Whether the config ties the head to the table, and the files to compare the two in (null: only headers are read). */
export type Tying = { tied: boolean; sources: ReadonlyMap<string, ByteSource> | null };

/**
 * Decides what the output head of `entries` (by canonical name) is, and leaves in them what the model reads. Untied,
 * both tensors stay as they are. Tied, a head alone is the table (robot policies save only that), one that is equal to
 * the table goes, and one that differs stays: both are used as they are. Source: huggingface/transformers 5.18,
 * modeling_utils.py `tie_weights`.
 */
export async function settleHead(entries: Map<string, CheckpointEntry>, { tied, sources }: Tying): Promise<OutputHead> {
  const [table, head] = [entries.get(EMBEDDING), entries.get(LM_HEAD)];
  if (!tied) return "own";
  if (head === undefined) return "embedding";
  if (table === undefined) entries.set(EMBEDDING, head);
  else if (head.dtype !== table.dtype || !sameShape(head.shape, table.shape)) return "own";
  else if (sources !== null && !(await sameBytes(head, table, sources))) return "own";
  entries.delete(LM_HEAD);
  return table === undefined || sources !== null ? "embedding" : "not compared";
}
