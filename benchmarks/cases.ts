import { DECODERS, type Variant } from "./variants.js";

/** A type of number that a checkpoint is stored in, as config.json spells it. */
export type StoredType = "bfloat16" | "float16" | "float32";

/** One checkpoint to measure; its name is its folder's too. */
export type Case = { variant: Variant; dtype: StoredType; resolution: number };

/** Every variant, stored type and picture size, for messages and argument parsing. */
export const VARIANT_NAMES = Object.keys(DECODERS) as Variant[];
export const STORED_TYPES: readonly StoredType[] = ["bfloat16", "float16", "float32"];
export const RESOLUTIONS: readonly number[] = [224, 448, 896];

/** "paligemma-3b-bfloat16-224" */
export const caseName = ({ variant, dtype, resolution }: Case): string => `${variant}-${dtype}-${resolution}`;

/** The case of a name; throws an `Error` that says what names look like. */
export function parseCase(name: string): Case {
  const [, variant, dtype, size] = /^(.+)-([a-z]+\d+)-(\d+)$/.exec(name) ?? [];
  return checkedCase({ variant, dtype, resolution: Number(size) }, `case "${name}"`);
}

/** Checks each part of a case; throws an `Error` naming `where` and what was expected. */
export function checkedCase(parts: { variant: string; dtype: string; resolution: number }, where: string): Case {
  const { variant, dtype, resolution } = parts;
  const known =
    VARIANT_NAMES.includes(variant as Variant) &&
    STORED_TYPES.includes(dtype as StoredType) &&
    RESOLUTIONS.includes(resolution);
  if (known) return { variant: variant as Variant, dtype: dtype as StoredType, resolution };
  const choices = [VARIANT_NAMES, STORED_TYPES, RESOLUTIONS].map((list) => list.join("|"));
  throw new Error(`${where}: expected one of ${choices.join(" - ")}, such as paligemma-3b-bfloat16-224`);
}
