import type { ArrayPart } from "./array-part.js";
import { WeightsError } from "./errors.js";
import { EMBEDDING } from "./names.js";

type Axes = readonly (readonly number[])[];
/**
 * A tensor's name, the layer that holds it (its folder of variables), the variable's number there, and its axes
 * (`ArrayPart`).
 */
type Rule = readonly [tensor: string, layer: string, variable: number, axes: Axes];

const VECTOR: Axes = [[0]];
const TABLE: Axes = [[0], [1]];
const TRANSPOSED: Axes = [[1], [0]];
/** [heads, D, H] -> [heads·H, D], and [heads, H, D] -> [D, heads·H]. */
const INTO_HEADS: Axes = [[0, 2], [1]];
const OUT_OF_HEADS: Axes = [[2], [0, 1]];

/** A layer's kernel or scale, and its bias. */
const both = (tensor: string, layer: string, axes: Axes): Rule[] => [
  [`${tensor}.weight`, layer, 0, axes],
  [`${tensor}.bias`, layer, 1, VECTOR],
];

const VIT = "layers/pali_gemma_vit/layers";
const ENCODER = `${VIT}/pali_gemma_vit_encoder`;
const TOWER = "vision_tower.vision_model";

const WHOLE: readonly Rule[] = [
  ...both(`${TOWER}.embeddings.patch_embedding`, `${ENCODER}/vision_embeddings/patch_embedding`, [[3], [2], [0], [1]]),
  [`${TOWER}.embeddings.position_embedding.weight`, `${ENCODER}/vision_embeddings/position_embedding`, 0, TABLE],
  ...both(`${TOWER}.post_layernorm`, `${ENCODER}/encoder_layer_norm`, VECTOR),
  ...both("multi_modal_projector.linear", `${VIT}/dense`, TRANSPOSED),
  [EMBEDDING, "layers/reversible_embedding", 0, TABLE],
  ["language_model.model.norm.weight", "layers/rms_normalization", 0, VECTOR],
];

const VISION: readonly Rule[] = [
  ...both("layer_norm1", "layer_norm_1", VECTOR),
  ...both("self_attn.q_proj", "attn/query_proj", TRANSPOSED),
  ...both("self_attn.k_proj", "attn/key_proj", TRANSPOSED),
  ...both("self_attn.v_proj", "attn/value_proj", TRANSPOSED),
  ...both("self_attn.out_proj", "attn/out_proj", TRANSPOSED),
  ...both("layer_norm2", "layer_norm_2", VECTOR),
  ...both("mlp.fc1", "mlp_dense_1", TRANSPOSED),
  ...both("mlp.fc2", "mlp_dense_2", TRANSPOSED),
];

const TEXT: readonly Rule[] = [
  ["self_attn.q_proj.weight", "attention/query_dense", 0, INTO_HEADS],
  ["self_attn.k_proj.weight", "attention/key_dense", 0, INTO_HEADS],
  ["self_attn.v_proj.weight", "attention/value_dense", 0, INTO_HEADS],
  ["self_attn.o_proj.weight", "attention/output_dense", 0, OUT_OF_HEADS],
  ["mlp.gate_proj.weight", "gating_ffw", 0, TRANSPOSED],
  ["mlp.up_proj.weight", "gating_ffw_2", 0, TRANSPOSED],
  ["mlp.down_proj.weight", "ffw_linear", 0, TRANSPOSED],
  ["input_layernorm.weight", "pre_attention_norm", 0, VECTOR],
];
/** One name, two meanings: the norm before the MLP in Gemma 1, that of the attention's output in Gemma 2. */
const NORMS_1: readonly Rule[] = [["post_attention_layernorm.weight", "pre_ffw_norm", 0, VECTOR]];
const NORMS_2: readonly Rule[] = [
  ["post_attention_layernorm.weight", "post_attention_norm", 0, VECTOR],
  ["pre_feedforward_layernorm.weight", "pre_ffw_norm", 0, VECTOR],
  ["post_feedforward_layernorm.weight", "post_ffw_norm", 0, VECTOR],
];

const BLOCK = "layers/pali_gemma_decoder_block";
/** More layers than this are a mistake in the file; the largest model has 46. */
const MAX_LAYERS = 1024;

/** Arrays of a training that are no weights: the states of random generators. */
export const isKerasState = (array: string): boolean => /(^|\/)seed_generator(_\d+)?\/vars\/\d+$/.test(array);

/**
 * Where each tensor of a PaliGemma lies among the arrays of a Keras file, by canonical name; `names` are those of the
 * arrays. Throws `WeightsError` naming `where` for more than 1024 layers. Source: keras-team/keras-hub 0.32,
 * models/{pali_gemma,gemma}/*.py and utils/transformers/convert_pali_gemma.py; paths by keras 3.15,
 * saving/saving_lib.py.
 */
export function kerasParts(names: ReadonlySet<string>, where: string): Map<string, ArrayPart> {
  const parts = new Map<string, ArrayPart>();
  const add = (prefix: string, folder: string, rules: readonly Rule[]): void => {
    for (const [tensor, layer, variable, axes] of rules) {
      parts.set(`${prefix}${tensor}`, { array: `${folder}${layer}/vars/${variable}`, index: [], axes });
    }
  };
  // A list's layers are called by their class: the first without a number, the second with 1.
  const layers = (prefix: string, folder: string, rules: readonly Rule[]): void => {
    const found = [...names].filter((name) => name.startsWith(folder)).map((name) => name.slice(folder.length));
    const count = Math.max(0, ...found.map((rest) => 1 + Number(/^(?:_(\d+))?\//.exec(rest)?.[1] ?? 0)));
    if (count > MAX_LAYERS)
      throw new WeightsError(`${where}: ${folder} has ${count} layers, expected at most ${MAX_LAYERS}`);
    for (let i = 0; i < count; i++) add(`${prefix}.layers.${i}.`, `${folder}${i === 0 ? "" : `_${i}`}/`, rules);
  };
  add("", "", WHOLE);
  layers(`${TOWER}.encoder`, `${ENCODER}/resblocks/pali_gemma_vit_encoder_block`, VISION);
  const postNorms = ["post_attention_norm", "post_ffw_norm"].some((norm) => names.has(`${BLOCK}/${norm}/vars/0`));
  layers("language_model.model", BLOCK, [...TEXT, ...(postNorms ? NORMS_2 : NORMS_1)]);
  return parts;
}
