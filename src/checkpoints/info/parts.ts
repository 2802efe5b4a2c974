import type { Checkpoint } from "../../../weights/checkpoint.js";
import { type CheckpointEntry, sizeOfEntry } from "../../../weights/checkpoint-entry.js";
import { bytesOf } from "../../../weights/dtype.js";
import { EMBEDDING } from "../../../weights/names.js";
import { isQuantised } from "../../../weights/quantised/quantised-entry.js";
import { partOf } from "../../adapters/adapter-info.js";

/** Parts of a model that are told apart; "language" is the decoder without its embedding. */
export const PARTS = ["vision", "projector", "language", "embedding"] as const;
/** One of `PARTS`. */
export type Part = (typeof PARTS)[number];

/** Numbers of a part, and its bytes on disk by stored type or packed form. */
export type PartSummary = { parameters: number; bytesByForm: Record<string, number> };

/** A tensor's type in the file, or the form that it is packed in, and its bytes there. */
export const storedForm = (entry: CheckpointEntry): { form: string; bytes: number } =>
  isQuantised(entry)
    ? { form: entry.form, bytes: entry.packedBytes }
    : { form: entry.dtype, bytes: sizeOfEntry(entry) };

/** Numbers and bytes of a checkpoint's parts. */
export function partsOf({ entries }: Pick<Checkpoint, "entries">): Record<Part, PartSummary> {
  const none = (): PartSummary => ({ parameters: 0, bytesByForm: {} });
  const parts = { vision: none(), projector: none(), language: none(), embedding: none() };
  for (const [name, entry] of entries) {
    const part = parts[name === EMBEDDING ? "embedding" : partOf(name)];
    const { form, bytes } = storedForm(entry);
    part.parameters += sizeOfEntry(entry) / bytesOf(entry.dtype);
    part.bytesByForm[form] = (part.bytesByForm[form] ?? 0) + bytes;
  }
  return parts;
}
