import type { ArrayPart } from "./array-part.js";
import { WeightsError } from "./errors.js";
import { EMBEDDING } from "./names.js";

/** The token table: an archive that holds it is a PaliGemma of big_vision. */
export const BIG_VISION_TABLE = "llm/embedder/input_embedding";

/** More layers than this are a mistake in the file; the largest model has 46. */
const MAX_LAYERS = 1024;

type Axes = readonly (readonly number[])[];
/**
 * A tensor's last name, the array that holds it, its index behind the layer, and its axes of what is left
 * (`ArrayPart`).
 */
type Rule = readonly [tensor: string, array: string, axes: Axes, index?: readonly number[]];

const VECTOR: Axes = [[0]];
const TABLE: Axes = [[0], [1]];
const TRANSPOSED: Axes = [[1], [0]];
/** [heads, D, H] -> [heads·H, D], and [heads, H, D] -> [D, heads·H]. */
const INTO_HEADS: Axes = [[0, 2], [1]];
const OUT_OF_HEADS: Axes = [[2], [0, 1]];

const WHOLE: readonly Rule[] = [
  ["vision_tower.vision_model.embeddings.patch_embedding.weight", "img/embedding/kernel", [[3], [2], [0], [1]]],
  ["vision_tower.vision_model.embeddings.patch_embedding.bias", "img/embedding/bias", VECTOR],
  ["vision_tower.vision_model.embeddings.position_embedding.weight", "img/pos_embedding", [[0, 1], [2]]],
  ["vision_tower.vision_model.post_layernorm.weight", "img/Transformer/encoder_norm/scale", VECTOR],
  ["vision_tower.vision_model.post_layernorm.bias", "img/Transformer/encoder_norm/bias", VECTOR],
  ["multi_modal_projector.linear.weight", "img/head/kernel", TRANSPOSED],
  ["multi_modal_projector.linear.bias", "img/head/bias", VECTOR],
  [EMBEDDING, BIG_VISION_TABLE, TABLE],
  ["language_model.model.norm.weight", "llm/final_norm/scale", VECTOR],
];

const ATTENTION = "MultiHeadDotProductAttention_0";
const VISION: readonly Rule[] = [
  ["layer_norm1.weight", "LayerNorm_0/scale", VECTOR],
  ["layer_norm1.bias", "LayerNorm_0/bias", VECTOR],
  // [D, heads, H] -> [heads·H, D], and [heads, H] -> [heads·H]
  ...[
    ["q_proj", "query"],
    ["k_proj", "key"],
    ["v_proj", "value"],
  ].flatMap(([tensor, array]): Rule[] => [
    [`self_attn.${tensor}.weight`, `${ATTENTION}/${array}/kernel`, [[1, 2], [0]]],
    [`self_attn.${tensor}.bias`, `${ATTENTION}/${array}/bias`, [[0, 1]]],
  ]),
  ["self_attn.out_proj.weight", `${ATTENTION}/out/kernel`, OUT_OF_HEADS],
  ["self_attn.out_proj.bias", `${ATTENTION}/out/bias`, VECTOR],
  ["layer_norm2.weight", "LayerNorm_1/scale", VECTOR],
  ["layer_norm2.bias", "LayerNorm_1/bias", VECTOR],
  ["mlp.fc1.weight", "MlpBlock_0/Dense_0/kernel", TRANSPOSED],
  ["mlp.fc1.bias", "MlpBlock_0/Dense_0/bias", VECTOR],
  ["mlp.fc2.weight", "MlpBlock_0/Dense_1/kernel", TRANSPOSED],
  ["mlp.fc2.bias", "MlpBlock_0/Dense_1/bias", VECTOR],
];

// In the order in which the two halves of an array lie, so that a packed one is unpacked once.
const TEXT: readonly Rule[] = [
  ["self_attn.q_proj.weight", "attn/q_einsum/w", INTO_HEADS],
  ["self_attn.k_proj.weight", "attn/kv_einsum/w", INTO_HEADS, [0]],
  ["self_attn.v_proj.weight", "attn/kv_einsum/w", INTO_HEADS, [1]],
  ["self_attn.o_proj.weight", "attn/attn_vec_einsum/w", OUT_OF_HEADS],
  ["mlp.gate_proj.weight", "mlp/gating_einsum", TRANSPOSED, [0]],
  ["mlp.up_proj.weight", "mlp/gating_einsum", TRANSPOSED, [1]],
  ["mlp.down_proj.weight", "mlp/linear", TRANSPOSED],
  ["input_layernorm.weight", "pre_attention_norm/scale", VECTOR],
];
/** One name, two meanings: the norm before the MLP in Gemma 1, that of the attention's output in Gemma 2. */
const NORMS_1: readonly Rule[] = [["post_attention_layernorm.weight", "pre_ffw_norm/scale", VECTOR]];
const NORMS_2: readonly Rule[] = [
  ["post_attention_layernorm.weight", "post_attention_norm/scale", VECTOR],
  ["pre_feedforward_layernorm.weight", "pre_ffw_norm/scale", VECTOR],
  ["post_feedforward_layernorm.weight", "post_ffw_norm/scale", VECTOR],
];

/**
 * Where each tensor of a PaliGemma lies among big_vision's arrays, by canonical name; `shapes` are those of the arrays,
 * whose first axis is the layer. Throws `WeightsError` naming `where` for more than 1024 layers. Source:
 * google-research/big_vision, models/{vit,ppp/gemma}.py; the order of heads and halves as in huggingface/transformers
 * 4.51, models/paligemma/convert_paligemma{,2}_weights_to_hf.py.
 */
export function bigVisionParts(shapes: ReadonlyMap<string, readonly number[]>, where: string): Map<string, ArrayPart> {
  const parts = new Map<string, ArrayPart>();
  for (const [tensor, array, axes] of WHOLE) parts.set(tensor, { array, index: [], axes });
  const layers = (tower: string, folder: string, rules: readonly Rule[]): void => {
    const count = Math.max(0, ...rules.map(([, array]) => shapes.get(`${folder}/${array}`)?.[0] ?? 0));
    if (count > MAX_LAYERS)
      throw new WeightsError(`${where}: ${folder} has ${count} layers, expected at most ${MAX_LAYERS}`);
    for (let layer = 0; layer < count; layer++) {
      for (const [tensor, array, axes, index = []] of rules) {
        parts.set(`${tower}.layers.${layer}.${tensor}`, {
          array: `${folder}/${array}`,
          index: [layer, ...index],
          axes,
        });
      }
    }
  };
  layers("vision_tower.vision_model.encoder", "img/Transformer/encoderblock", VISION);
  const postNorms = ["post_attention_norm", "post_ffw_norm"].some((norm) => shapes.has(`llm/layers/${norm}/scale`));
  layers("language_model.model", "llm/layers", [...TEXT, ...(postNorms ? NORMS_2 : NORMS_1)]);
  return parts;
}
