import { EMBEDDING, LM_HEAD } from "./names.js";

/**
 * How tensors are spelled in a file that is written:
 *
 * - `hub`: as on the hub, and what every reader knows: `language_model.model.*`, `vision_tower.vision_model.*`, `multi_modal_projector.*`;
 * - `vision-tower`: as transformers 5.18 saves a new model: without `vision_model.`;
 * - `model`: as transformers 4.52 and later save it: `model.language_model.*` without the inner `model.`, `model.vision_tower.vision_model.*`;
 * - `in-memory`: the module tree of transformers 5.x: as `model`, without `vision_model.`;
 * - `robotics`: as robot policies embed it: `model` behind `paligemma_with_expert.paligemma.`, with lm_head in place of the embedding.
 */
export const LAYOUTS = ["hub", "vision-tower", "model", "in-memory", "robotics"] as const;
export type Layout = (typeof LAYOUTS)[number];

const withoutVisionModel = (name: string): string => name.replace(/^vision_tower\.vision_model\./, "vision_tower.");
const belowModel = (name: string): string => `model.${name.replace(/^language_model\.model\./, "language_model.")}`;

const SPELLINGS: Readonly<Record<Layout, (canonical: string) => string>> = {
  hub: (name) => name,
  "vision-tower": withoutVisionModel,
  model: belowModel,
  "in-memory": (name) => belowModel(withoutVisionModel(name)),
  robotics: (name) => {
    const inner = name === EMBEDDING ? LM_HEAD.replace(/^language_model\./, "") : belowModel(name);
    return `paligemma_with_expert.paligemma.${inner}`;
  },
};

/** A tensor's name in a file of this layout; `canonicalName` is the way back. */
export const spelled = (canonical: string, layout: Layout): string => SPELLINGS[layout](canonical);
