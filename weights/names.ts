import { WeightsError } from "./errors.js";

/**
 * What savers put in front of a whole model: PEFT, and robotics models (pi0, lerobot, openpi); one may be inside the
 * other.
 */
const OUTER_PREFIXES = /^(?:base_model\.model\.|(?:model\.)?(?:paligemma_with_expert\.paligemma|pi0_paligemma)\.)+/;

/** Applied once each, in order. Source: the layouts that transformers 4.41 to 5.18 saved (see `canonicalName`). */
const RULES: readonly (readonly [pattern: RegExp, replacement: string])[] = [
  [/^model\.(?=(language_model|vision_tower|multi_modal_projector)\.)/, ""],
  [/^lm_head\./, "language_model.lm_head."],
  [/^language_model\.(?=(embed_tokens|layers|norm)\.)/, "language_model.model."],
  [/^vision_tower\.(?=(embeddings|encoder|post_layernorm|head)\.)/, "vision_tower.vision_model."],
];

/**
 * Tensors of known checkpoints that this model has no use for: SigLIP's pooling head, and position ids, a counting
 * buffer of old saves.
 */
const IGNORED = [/^vision_tower\.vision_model\.head\./, /\.position_ids$/];

/** The token table. */
export const EMBEDDING = "language_model.model.embed_tokens.weight";
/** The output head; mostly absent, since it is the token table. */
export const LM_HEAD = "language_model.lm_head.weight";
/** The convolution that makes patches of pixels, [D, C, patch, patch]. */
export const PATCH_KERNEL = "vision_tower.vision_model.embeddings.patch_embedding.weight";

/**
 * The hub's name for a tensor, whatever the saver: `language_model.model.*`, `language_model.lm_head.weight`,
 * `vision_tower.vision_model.{embeddings,encoder,post_layernorm}.*`, `multi_modal_projector.linear.*`. Read are the
 * layouts of
 *
 * - hub files and transformers before 4.52: as above;
 * - transformers 4.52 and later: `model.language_model.*` without the inner `model.`, `model.vision_tower.*`,
 *   `lm_head.weight`;
 * - transformers 5.18: `vision_tower.*` without `vision_model.`;
 * - robotics models and PEFT: any of these behind a prefix, or several.
 *
 * A name that is none of these comes back without its prefixes, to be reported as unexpected.
 */
export function canonicalName(name: string): string {
  return RULES.reduce(
    (text, [pattern, replacement]) => text.replace(pattern, replacement),
    name.replace(OUTER_PREFIXES, ""),
  );
}

/** Whether a canonical name is known and unused: a pooling head of the vision tower or a `position_ids` buffer. */
export const isIgnored = (canonical: string): boolean => IGNORED.some((pattern) => pattern.test(canonical));

/**
 * Canonical name of each name; throws `WeightsError` naming both where two names are one tensor. `where` is the file or
 * folder.
 */
export function canonicalNames(names: Iterable<string>, where: string): Map<string, string> {
  const found = new Map<string, string>();
  for (const name of names) {
    const canonical = canonicalName(name);
    const other = found.get(canonical);
    if (other !== undefined) {
      throw new WeightsError(
        `${where}: "${other}" and "${name}" are both the tensor ${canonical}; only one may be there`,
      );
    }
    found.set(canonical, name);
  }
  return found;
}
