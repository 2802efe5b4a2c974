/**
 * How a version of transformers, or a model around PaliGemma, calls the modules: what stands for each start of a
 * canonical path.
 */
export type Spelling = {
  readonly name: string;
  readonly starts: readonly (readonly [canonical: string, own: string])[];
};

const HEAD = "language_model.lm_head";
const LANGUAGE = "language_model.model.";
const VISION = "vision_tower.vision_model.";
const PROJECTOR = "multi_modal_projector.";

const spelling = (name: string, head: string, language: string, vision: string, projector: string): Spelling => ({
  name,
  starts: [
    [HEAD, head],
    [LANGUAGE, language],
    [VISION, vision],
    [PROJECTOR, projector],
  ],
});

/**
 * From the newest; names of the language model alone can be those of several. Source: module trees of transformers 4.41
 * to 5.18.
 */
const VERSIONS: readonly Spelling[] = [
  spelling("late transformers 5", "lm_head", "model.language_model.", "model.vision_tower.", `model.${PROJECTOR}`),
  spelling("transformers 4.52 to 5", "lm_head", "model.language_model.", `model.${VISION}`, `model.${PROJECTOR}`),
  spelling("transformers before 4.52", HEAD, LANGUAGE, VISION, PROJECTOR),
  spelling("files of transformers 5.18", HEAD, LANGUAGE, "vision_tower.", PROJECTOR),
];

/** What models that hold a PaliGemma put in front: document retrievers, and robotics models. */
const OUTER = ["", "model.", "paligemma_with_expert.paligemma.", "model.paligemma_with_expert.paligemma."];

/** Every spelling that is known. */
export const SPELLINGS: readonly Spelling[] = OUTER.flatMap((outer) =>
  VERSIONS.map(({ name, starts }) => ({
    name: outer === "" ? name : `${name} behind "${outer}"`,
    starts: starts.map(([canonical, own]) => [canonical, `${outer}${own}`] as const),
  })),
);

/** A canonical path, or a name below it, in a spelling; null for one that is in no part of the model. */
export function spell(canonical: string, { starts }: Spelling): string | null {
  const start = starts.find(([from]) => canonical.startsWith(from));
  return start ? start[1] + canonical.slice(start[0].length) : null;
}
