import { EMBEDDING, LM_HEAD } from "./names.js";

/**
 * How tensors are spelled in a file that is written:
 *
 * - `hub`: as on the hub, and what every reader knows: `language_model.model.*`, `vision_tower.vision_model.*`,
 *   `multi_modal_projector.*`;
 * - `vision-tower`: as transformers 5.18 saves a new model: without `vision_model.`;
 * - `model`: as transformers 4.52 and later save it: `model.language_model.*` without the inner `model.`,
 *   `model.vision_tower.vision_model.*`;
 * - `in-memory`: the module tree of transformers 5.x: as `model`, without `vision_model.`;
 * - `robotics`: as robot policies embed it: `model` behind `paligemma_with_expert.paligemma.`, with a tied lm_head in
 *   place of the embedding.
 *
 * An output head of its own is `language_model.lm_head.weight` in the first two and `lm_head.weight` at the top of the
 * others.
 */
export const LAYOUTS = ["hub", "vision-tower", "model", "in-memory", "robotics"] as const;
/** One of `LAYOUTS`. */
export type Layout = (typeof LAYOUTS)[number];

const withoutVisionModel = (name: string): string => name.replace(/^vision_tower\.vision_model\./, "vision_tower.");
const belowModel = (name: string): string =>
  name === LM_HEAD ? TOP_HEAD : `model.${name.replace(/^language_model\.model\./, "language_model.")}`;
const TOP_HEAD = LM_HEAD.replace(/^language_model\./, "");

const SPELLINGS: Readonly<Record<Layout, (canonical: string, tied: boolean) => string>> = {
  hub: (name) => name,
  "vision-tower": withoutVisionModel,
  model: belowModel,
  "in-memory": (name) => belowModel(withoutVisionModel(name)),
  robotics: (name, tied) =>
    `paligemma_with_expert.paligemma.${name === EMBEDDING && tied ? TOP_HEAD : belowModel(name)}`,
};

/**
 * A tensor's name in a file of this layout, of a model whose output head is the token table or not; `canonicalName` is
 * the way back.
 */
export const spelled = (canonical: string, layout: Layout, tied = true): string => SPELLINGS[layout](canonical, tied);
