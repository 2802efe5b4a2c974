import { numImageTokens, type PaliGemmaConfig } from "./config.js";

/**
 * The name and shape of one activation. Axes that depend on the inputs are letters: I pictures, B rows, T positions,
 * S keys, T_text text positions. Rows with unequal numbers of text positions show them one after another: B is then 1.
 */
export type HookPoint = { name: string; shape: (number | string)[] };

type Shape = (number | string)[];

/** Every activation that a model of this config shows, in the order of computation; found without any weights. */
export function hookCatalogue(config: PaliGemmaConfig): HookPoint[] {
  const D = config.text.hiddenSize;
  return [
    ...visionHooks(config),
    { name: "projector.hook_out", shape: ["I", numImageTokens(config), D] },
    ...languageHooks(config),
  ];
}

function visionHooks(config: PaliGemmaConfig): HookPoint[] {
  const { hiddenSize: D, intermediateSize: F, numAttentionHeads: N, numHiddenLayers } = config.vision;
  const P = numImageTokens(config);
  const stream: Shape = ["I", P, D];
  const heads: Shape = ["I", P, N, D / N];
  const block = [
    ...under("ln1", norm(stream)),
    ...under("attn", [...named(["hook_q", "hook_k", "hook_v"], heads), ...attention(["I", N, P, P], heads)]),
    ...named(["hook_attn_out", "hook_resid_mid"], stream),
    ...under("ln2", norm(stream)),
    ...under("mlp", named(["hook_pre", "hook_post"], ["I", P, F])),
    ...named(["hook_mlp_out", "hook_resid_post"], stream),
  ];
  return under("vision", [
    { name: "hook_embed", shape: stream },
    { name: "hook_pos_embed", shape: [1, P, D] },
    { name: "hook_full_embed", shape: stream },
    ...blocks(numHiddenLayers, [{ name: "hook_resid_pre", shape: stream }, ...block]),
    ...under("ln_final", norm(stream)),
  ]);
}

function languageHooks(config: PaliGemmaConfig): HookPoint[] {
  const { hiddenSize: D, intermediateSize: F, headDim: H, numAttentionHeads: N, numKeyValueHeads: K } = config.text;
  const { numHiddenLayers, vocabSize, postNorms } = config.text;
  const stream: Shape = ["B", "T", D];
  const queries: Shape = ["B", "T", N, H];
  const keys: Shape = ["B", "T", K, H];
  const postNorm = (path: string) => (postNorms ? under(path, norm(stream)) : []);
  const projections = [
    ...named(["hook_q"], queries),
    ...named(["hook_k", "hook_v"], keys),
    ...named(["hook_rot_q"], queries),
    ...named(["hook_rot_k"], keys),
  ];
  const block = [
    ...under("ln1", norm(stream)),
    ...under("attn", [...projections, ...attention(["B", N, "T", "S"], queries)]),
    ...postNorm("ln1_post"),
    ...named(["hook_attn_out", "hook_resid_mid"], stream),
    ...under("ln2", norm(stream)),
    ...under("mlp", named(["hook_pre", "hook_pre_linear", "hook_post"], ["B", "T", F])),
    ...postNorm("ln2_post"),
    ...named(["hook_mlp_out", "hook_resid_post"], stream),
  ];
  return under("language", [
    { name: "hook_embed", shape: ["B", "T_text", D] },
    ...blocks(numHiddenLayers, [{ name: "hook_resid_pre", shape: stream }, ...block]),
    ...under("ln_final", norm(stream)),
    { name: "unembed.hook_out", shape: ["B", "T", vocabSize] },
  ]);
}

const under = (path: string, points: HookPoint[]): HookPoint[] =>
  points.map(({ name, shape }) => ({ name: `${path}.${name}`, shape }));

const named = (names: string[], shape: Shape): HookPoint[] => names.map((name) => ({ name, shape }));

const norm = (stream: Shape): HookPoint[] => [
  { name: "hook_scale", shape: [...stream.slice(0, -1), 1] },
  { name: "hook_out", shape: stream },
];

const attention = (cells: Shape, heads: Shape): HookPoint[] => [
  ...named(["hook_attn_scores", "hook_pattern"], cells),
  { name: "hook_z", shape: heads },
];

const blocks = (count: number, block: HookPoint[]): HookPoint[] =>
  Array.from({ length: count }, (_, i) => under(`blocks.${i}`, block)).flat();
