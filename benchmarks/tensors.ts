import type { Case } from "./cases.js";
import { DECODERS, type DecoderSizes, imageTokens, VISION, VOCABULARY } from "./variants.js";

/** Where a tensor's values lie: normally around `mean`. */
export type Spread = { mean: number; deviation: number };

/** A tensor to make. */
export type TensorPlan = { name: string; shape: number[]; spread: Spread };

/** Puts a tensor into the plan. */
type Add = (name: string, shape: number[], spread: Spread) => void;

/**
 * Every tensor of a checkpoint under the hub's names, in the order in which the published model holds them. The values
 * keep activations within the range of a trained model's: what a matrix gives is about as large as what went in.
 */
export function tensorsOf({ variant, resolution }: Case): TensorPlan[] {
  const plan: TensorPlan[] = [];
  const add: Add = (name, shape, spread) => plan.push({ name, shape, spread });
  const decoder = DECODERS[variant];
  addVision(add, resolution);
  addLinear(add, "multi_modal_projector.linear", decoder.hidden, VISION.hidden);
  addDecoder(add, decoder);
  return plan;
}

const BIAS: Spread = { mean: 0, deviation: 0.02 };
/** Gemma's norms add 1 to what is stored; SigLIP's do not. */
const CENTRED_NORM: Spread = { mean: 0, deviation: 0.1 };
const PLAIN_NORM: Spread = { mean: 1, deviation: 0.1 };

/**
 * The MLPs add several times what the embedding brings and attention adds less: else the tied head would answer each
 * token with itself, or every token with what the picture says. So generated ids keep changing, and show whether two
 * programs agree.
 */
const MLP_GAIN = 5;
const LOUD_NORM: Spread = { mean: 2, deviation: 0.1 };
const QUIET_NORM: Spread = { mean: -0.5, deviation: 0.1 };

/** A matrix that keeps the size of its input, times `gain`. */
const matrix = (fanIn: number, gain = 1): Spread => ({ mean: 0, deviation: gain / Math.sqrt(fanIn) });

function addLinear(add: Add, name: string, out: number, width: number): void {
  add(`${name}.weight`, [out, width], matrix(width));
  add(`${name}.bias`, [out], BIAS);
}

function addLayerNorm(add: Add, name: string): void {
  add(`${name}.weight`, [VISION.hidden], PLAIN_NORM);
  add(`${name}.bias`, [VISION.hidden], BIAS);
}

function addVision(add: Add, resolution: number): void {
  const { hidden, mlp, patch } = VISION;
  const tower = "vision_tower.vision_model";
  const table = [imageTokens(resolution), hidden];
  add(`${tower}.embeddings.patch_embedding.weight`, [hidden, 3, patch, patch], matrix(3 * patch * patch));
  add(`${tower}.embeddings.patch_embedding.bias`, [hidden], BIAS);
  add(`${tower}.embeddings.position_embedding.weight`, table, { mean: 0, deviation: 0.5 });
  for (let i = 0; i < VISION.layers; i++) {
    const layer = `${tower}.encoder.layers.${i}`;
    for (const part of ["k_proj", "v_proj", "q_proj", "out_proj"]) {
      addLinear(add, `${layer}.self_attn.${part}`, hidden, hidden);
    }
    addLayerNorm(add, `${layer}.layer_norm1`);
    addLinear(add, `${layer}.mlp.fc1`, mlp, hidden);
    addLinear(add, `${layer}.mlp.fc2`, hidden, mlp);
    addLayerNorm(add, `${layer}.layer_norm2`);
  }
  addLayerNorm(add, `${tower}.post_layernorm`);
}

function addDecoder(add: Add, sizes: DecoderSizes): void {
  const { hidden } = sizes;
  add("language_model.model.embed_tokens.weight", [VOCABULARY, hidden], matrix(hidden));
  for (let i = 0; i < sizes.layers; i++) addDecoderLayer(add, `language_model.model.layers.${i}`, sizes);
  add("language_model.model.norm.weight", [hidden], CENTRED_NORM);
}

function addDecoderLayer(add: Add, layer: string, sizes: DecoderSizes): void {
  const { hidden, mlp, heads, keyHeads, headDim } = sizes;
  const [queries, keys] = [heads * headDim, keyHeads * headDim];
  // Queries and keys above the average, so that attention picks rather than averages.
  add(`${layer}.self_attn.q_proj.weight`, [queries, hidden], matrix(hidden, 1.5));
  add(`${layer}.self_attn.k_proj.weight`, [keys, hidden], matrix(hidden, 1.5));
  add(`${layer}.self_attn.v_proj.weight`, [keys, hidden], matrix(hidden));
  add(`${layer}.self_attn.o_proj.weight`, [hidden, queries], matrix(queries));
  add(`${layer}.mlp.gate_proj.weight`, [mlp, hidden], matrix(hidden));
  add(`${layer}.mlp.up_proj.weight`, [mlp, hidden], matrix(hidden));
  add(`${layer}.mlp.down_proj.weight`, [hidden, mlp], matrix(mlp, MLP_GAIN));
  for (const [norm, spread] of normsOf(sizes)) add(`${layer}.${norm}.weight`, [hidden], spread);
}

/** Gemma 2's "post" norms set the size of what a part adds; Gemma's one of that name stands before the MLP. */
const normsOf = ({ modelType }: DecoderSizes): [name: string, spread: Spread][] =>
  modelType === "gemma"
    ? [
        ["input_layernorm", CENTRED_NORM],
        ["post_attention_layernorm", CENTRED_NORM],
      ]
    : [
        ["input_layernorm", CENTRED_NORM],
        ["post_attention_layernorm", QUIET_NORM],
        ["pre_feedforward_layernorm", CENTRED_NORM],
        ["post_feedforward_layernorm", LOUD_NORM],
      ];
