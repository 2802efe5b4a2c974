const TOWERS = ["vision", "projector", "language"];

const norm = (path: string): string[] => [`${path}.hook_scale`, `${path}.hook_out`];

/** What is computed before the blocks, in each block, and behind them. */
const PARTS = [
  ["hook_embed", "hook_pos_embed", "hook_full_embed"],
  [
    "hook_resid_pre",
    ...norm("ln1"),
    ...["q", "k", "v", "rot_q", "rot_k", "attn_scores", "pattern", "z"].map((leaf) => `attn.hook_${leaf}`),
    ...norm("ln1_post"),
    "hook_attn_out",
    "hook_resid_mid",
    ...norm("ln2"),
    "mlp.hook_pre",
    "mlp.hook_pre_linear",
    "mlp.hook_post",
    ...norm("ln2_post"),
    "hook_mlp_out",
    "hook_resid_post",
  ],
  ["hook_out", ...norm("ln_final"), "unembed.hook_out"],
];

/**
 * Hook names in the order of computation, which files do not keep: towers, blocks by number, and in each what comes
 * first. Names that are no hooks come last, as they came.
 */
export function inOrderOfComputation(names: Iterable<string>): string[] {
  const places = [...names].map((name) => ({ name, place: placeOf(name) }));
  return places.sort((a, b) => compareLists(a.place, b.place)).map(({ name }) => name);
}

function placeOf(name: string): number[] {
  const match = /^(\w+)\.(?:blocks\.(\d+)\.)?(.+)$/.exec(name);
  const tower = TOWERS.indexOf(match?.[1] ?? "");
  const part = PARTS.findIndex((leaves) => leaves.includes(match?.[3] ?? ""));
  if (match === null || tower < 0 || part < 0) return [TOWERS.length];
  return [tower, part, Number(match[2] ?? 0), PARTS[part].indexOf(match[3])];
}

function compareLists(a: readonly number[], b: readonly number[]): number {
  const differing = a.findIndex((value, i) => value !== b[i]);
  return differing < 0 ? 0 : a[differing] - (b[differing] ?? 0);
}
