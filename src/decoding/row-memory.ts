import { availableBytes, gigabytes } from "../../weights/available-memory.js";
import type { PaliGemmaConfig } from "../model/config.js";
import { InputError } from "../base/errors.js";

/** Rows that decode together: `prompts` times `each` beams or copies, which `name` asks for, over so many positions. */
export type RowsAsked = { name: string; prompts: number; each: number; positions: number };

/** Kept of a row's logits at once: as the model gives them, as scores, and sorted. */
const COPIES_OF_LOGITS = 3;

/**
 * Throws `InputError` naming the option where the keys, values and logits of so many rows need more memory than is
 * available (`available` bytes): keys and values are float32, and are there twice while rows are chosen.
 */
export function requireRowMemory(
  { text }: PaliGemmaConfig,
  { name, prompts, each, positions }: RowsAsked,
  available = availableBytes(),
): void {
  const cached = 4 * 2 * text.numHiddenLayers * text.numKeyValueHeads * text.headDim * positions;
  const rows = prompts * each;
  const bytes = rows * (2 * cached + 4 * COPIES_OF_LOGITS * text.vocabSize);
  if (!(bytes > available)) return;
  const needed = `${rows} rows of ${positions} positions, about ${gigabytes(bytes)}`;
  throw new InputError(
    `${name}: expected what fits into memory, received ${needed} of which ${gigabytes(available)} are available; ask for less`,
  );
}
