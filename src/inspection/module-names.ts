import { canonicalName } from "../../weights/names.js";

/** A tensor of transformers: what a module is given first, or what it returns. */
export type ModuleTensor = {
  /** The module's path, as `named_modules` gives it; any era's. */
  module: string;
  side: "input" | "output";
};

/**
 * How transformers' tensor lies beside ours: the same, heads flat in one axis, channels before the patches, or image
 * rows included.
 */
export type Layout = "same" | "flat heads" | "channels first" | "all rows";

/** The hook that a module's tensor is. */
export type HookOfModule = {
  hook: string;
  layout: Layout;
  /** Where it is not quite ours. */
  note?: string;
};

/**
 * What the names of a model's modules mean by: whether there are norms behind attention and MLP, and how many blocks
 * there are.
 */
export type ModuleContext = { postNorms: boolean; blocks: { vision: number; language: number } };

type Row = readonly [side: "in" | "out", module: string, hook: string, layout?: Layout, note?: string];

const SCALING =
  "transformers before 5.4 records embed_tokens before the factor sqrt(hidden size), this project behind it";

/** Outside of the blocks. Modules by the hub's names, of which `canonicalName` knows the other spellings. */
const MODEL: readonly Row[] = [
  ["out", "vision_tower.vision_model.embeddings.patch_embedding", "vision.hook_embed", "channels first"],
  ["out", "vision_tower.vision_model.embeddings.position_embedding", "vision.hook_pos_embed"],
  ["out", "vision_tower.vision_model.post_layernorm", "vision.ln_final.hook_out"],
  ["out", "multi_modal_projector.linear", "projector.hook_out"],
  ["out", "language_model.model.embed_tokens", "language.hook_embed", "all rows", SCALING],
  ["out", "language_model.model.norm", "language.ln_final.hook_out"],
  ["out", "language_model.lm_head", "language.unembed.hook_out"],
];

const ATTENTION: readonly Row[] = [
  ["out", "self_attn.q_proj", "attn.hook_q", "flat heads"],
  ["out", "self_attn.k_proj", "attn.hook_k", "flat heads"],
  ["out", "self_attn.v_proj", "attn.hook_v", "flat heads"],
];

const VISION_BLOCK: readonly Row[] = [
  ["out", "layer_norm1", "ln1.hook_out"],
  ...ATTENTION,
  ["in", "self_attn.out_proj", "attn.hook_z", "flat heads"],
  ["out", "self_attn.out_proj", "hook_attn_out"],
  ["in", "layer_norm2", "hook_resid_mid"],
  ["out", "layer_norm2", "ln2.hook_out"],
  ["out", "mlp.fc1", "mlp.hook_pre"],
  ["in", "mlp.fc2", "mlp.hook_post"],
  ["out", "mlp.fc2", "hook_mlp_out"],
];

const LANGUAGE_BLOCK: readonly Row[] = [
  ["out", "input_layernorm", "ln1.hook_out"],
  ...ATTENTION,
  ["in", "self_attn.o_proj", "attn.hook_z", "flat heads"],
  ["out", "mlp.gate_proj", "mlp.hook_pre"],
  ["out", "mlp.up_proj", "mlp.hook_pre_linear"],
  ["in", "mlp.down_proj", "mlp.hook_post"],
];

/** Gemma: what attention and MLP return is added as it is. */
const WITHOUT_POST_NORMS: readonly Row[] = [
  ["out", "self_attn.o_proj", "hook_attn_out"],
  ["in", "post_attention_layernorm", "hook_resid_mid"],
  ["out", "post_attention_layernorm", "ln2.hook_out"],
  ["out", "mlp.down_proj", "hook_mlp_out"],
];

/** Gemma 2: the same module name is another norm. */
const WITH_POST_NORMS: readonly Row[] = [
  ["out", "post_attention_layernorm", "ln1_post.hook_out"],
  ["out", "post_attention_layernorm", "hook_attn_out"],
  ["in", "pre_feedforward_layernorm", "hook_resid_mid"],
  ["out", "pre_feedforward_layernorm", "ln2.hook_out"],
  ["out", "post_feedforward_layernorm", "ln2_post.hook_out"],
  ["out", "post_feedforward_layernorm", "hook_mlp_out"],
];

/** The module whose presence means norms behind attention and MLP. */
export const POST_NORM_MODULE = "pre_feedforward_layernorm";

const BLOCK = /^(?:vision_tower\.vision_model\.encoder|language_model\.model)\.layers\.(\d+)(?:\.(.+))?$/;

/** A module's path in the hub's spelling, of whatever version of transformers it is. */
export const canonicalModule = (module: string): string => canonicalName(`${module}.`).slice(0, -1);

/** The block that a module is or is in, by the hub's spelling; null outside of blocks. */
export function blockOf(canonical: string): { tower: "vision" | "language"; block: number; inner: string } | null {
  const match = BLOCK.exec(canonical);
  if (match === null) return null;
  return {
    tower: canonical.startsWith("vision") ? "vision" : "language",
    block: Number(match[1]),
    inner: match[2] ?? "",
  };
}

/**
 * The hooks that a module's tensor is, none for one that has no hook. A block's input is also what the block before it
 * returns. Source of the modules: transformers 5.18 `modeling_siglip.py`, `modeling_gemma.py`, `modeling_gemma2.py`,
 * `modeling_paligemma.py`.
 */
export function hooksOfModule({ module, side }: ModuleTensor, { postNorms, blocks }: ModuleContext): HookOfModule[] {
  const canonical = canonicalModule(module);
  const wanted = side === "input" ? "in" : "out";
  const found = blockOf(canonical);
  if (found === null) {
    const last = lastOutput(canonical, wanted, blocks);
    return last ? [same(last)] : rowsFor(MODEL, canonical, wanted, "");
  }
  const { tower, block, inner } = found;
  if (inner === "") return wanted === "in" ? blockInput(tower, block) : [];
  const language = [...LANGUAGE_BLOCK, ...(postNorms ? WITH_POST_NORMS : WITHOUT_POST_NORMS)];
  return rowsFor(tower === "vision" ? VISION_BLOCK : language, inner, wanted, `${tower}.blocks.${block}.`);
}

const same = (hook: string): HookOfModule => ({ hook, layout: "same" });

const rowsFor = (rows: readonly Row[], module: string, side: "in" | "out", prefix: string): HookOfModule[] =>
  rows
    .filter((row) => row[0] === side && row[1] === module)
    .map(([, , hook, layout = "same", note]) => ({ hook: `${prefix}${hook}`, layout, ...(note ? { note } : {}) }));

function blockInput(tower: "vision" | "language", block: number): HookOfModule[] {
  const entry = same(`${tower}.blocks.${block}.hook_resid_pre`);
  if (block > 0) return [entry, same(`${tower}.blocks.${block - 1}.hook_resid_post`)];
  return tower === "vision" ? [entry, same("vision.hook_full_embed")] : [entry];
}

/** What the last block returns is seen only where it enters the final norm. */
function lastOutput(canonical: string, side: "in" | "out", blocks: ModuleContext["blocks"]): string | null {
  if (side !== "in") return null;
  if (canonical === "language_model.model.norm") return `language.blocks.${blocks.language - 1}.hook_resid_post`;
  if (canonical !== "vision_tower.vision_model.post_layernorm") return null;
  return `vision.blocks.${blocks.vision - 1}.hook_resid_post`;
}
