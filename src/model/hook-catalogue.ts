import { numImageTokens, type PaliGemmaConfig } from "./config.js";

/**
 * The axes of activations: I pictures, B rows, T positions, T_text text positions, S key positions, P patches, N query
 * heads, K key heads, H head size, D width, F MLP width, V vocabulary; 1 an axis of one element.
 */
export type AxisLetter = "I" | "B" | "T" | "T_text" | "S" | "P" | "N" | "K" | "H" | "D" | "F" | "V" | "1";

/**
 * The name, axes and shape of one activation. Sizes that depend on the inputs are letters: I pictures, B rows, T
 * positions, S keys, T_text text positions. Rows with unequal numbers of text positions show them one after another: B
 * is then 1.
 */
export type HookPoint = { name: string; axes: AxisLetter[]; shape: (number | AxisLetter)[] };

type Axis = [letter: AxisLetter, size?: number];

/** Every activation that a model of this config shows, in the order of computation; found without any weights. */
export function hookCatalogue(config: PaliGemmaConfig): HookPoint[] {
  const D = config.text.hiddenSize;
  return [
    ...visionHooks(config),
    point("projector.hook_out", [["I"], ["P", numImageTokens(config)], ["D", D]]),
    ...languageHooks(config),
  ];
}

function visionHooks(config: PaliGemmaConfig): HookPoint[] {
  const { hiddenSize, intermediateSize, numAttentionHeads, numHiddenLayers } = config.vision;
  const [P, D, N]: [Axis, Axis, Axis] = [
    ["P", numImageTokens(config)],
    ["D", hiddenSize],
    ["N", numAttentionHeads],
  ];
  const stream: Axis[] = [["I"], P, D];
  const heads: Axis[] = [["I"], P, N, ["H", hiddenSize / numAttentionHeads]];
  const block = [
    ...under("ln1", norm(stream)),
    ...under("attn", [...named(["hook_q", "hook_k", "hook_v"], heads), ...attention([["I"], N, P, P], heads)]),
    ...named(["hook_attn_out", "hook_resid_mid"], stream),
    ...under("ln2", norm(stream)),
    ...under("mlp", named(["hook_pre", "hook_post"], [["I"], P, ["F", intermediateSize]])),
    ...named(["hook_mlp_out", "hook_resid_post"], stream),
  ];
  return under("vision", [
    point("hook_embed", stream),
    point("hook_pos_embed", [["1", 1], P, D]),
    point("hook_full_embed", stream),
    ...blocks(numHiddenLayers, [point("hook_resid_pre", stream), ...block]),
    ...under("ln_final", norm(stream)),
  ]);
}

function languageHooks(config: PaliGemmaConfig): HookPoint[] {
  const { hiddenSize, intermediateSize, headDim, numAttentionHeads, numKeyValueHeads } = config.text;
  const { numHiddenLayers, vocabSize, postNorms } = config.text;
  const [D, N, H]: [Axis, Axis, Axis] = [
    ["D", hiddenSize],
    ["N", numAttentionHeads],
    ["H", headDim],
  ];
  const stream: Axis[] = [["B"], ["T"], D];
  const queries: Axis[] = [["B"], ["T"], N, H];
  const keys: Axis[] = [["B"], ["T"], ["K", numKeyValueHeads], H];
  const postNorm = (path: string) => (postNorms ? under(path, norm(stream)) : []);
  const projections = [
    ...named(["hook_q"], queries),
    ...named(["hook_k", "hook_v"], keys),
    ...named(["hook_rot_q"], queries),
    ...named(["hook_rot_k"], keys),
  ];
  const block = [
    ...under("ln1", norm(stream)),
    ...under("attn", [...projections, ...attention([["B"], N, ["T"], ["S"]], queries)]),
    ...postNorm("ln1_post"),
    ...named(["hook_attn_out", "hook_resid_mid"], stream),
    ...under("ln2", norm(stream)),
    ...under("mlp", named(["hook_pre", "hook_pre_linear", "hook_post"], [["B"], ["T"], ["F", intermediateSize]])),
    ...postNorm("ln2_post"),
    ...named(["hook_mlp_out", "hook_resid_post"], stream),
  ];
  return under("language", [
    point("hook_embed", [["B"], ["T_text"], D]),
    ...blocks(numHiddenLayers, [point("hook_resid_pre", stream), ...block]),
    ...under("ln_final", norm(stream)),
    point("unembed.hook_out", [["B"], ["T"], ["V", vocabSize]]),
  ]);
}

const point = (name: string, axes: Axis[]): HookPoint => ({
  name,
  axes: axes.map(([letter]) => letter),
  shape: axes.map(([letter, size]) => size ?? letter),
});

const under = (path: string, points: HookPoint[]): HookPoint[] =>
  points.map((point) => ({ ...point, name: `${path}.${point.name}` }));

const named = (names: string[], axes: Axis[]): HookPoint[] => names.map((name) => point(name, axes));

const norm = (stream: Axis[]): HookPoint[] => [
  point("hook_scale", [...stream.slice(0, -1), ["1", 1]]),
  point("hook_out", stream),
];

const attention = (cells: Axis[], heads: Axis[]): HookPoint[] => [
  ...named(["hook_attn_scores", "hook_pattern"], cells),
  point("hook_z", heads),
];

const blocks = (count: number, block: HookPoint[]): HookPoint[] =>
  Array.from({ length: count }, (_, i) => under(`blocks.${i}`, block)).flat();
