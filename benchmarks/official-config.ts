import { generationFields, preprocessorFields } from "../src/checkpoints/saving/side-files.js";
import type { Case } from "./cases.js";
import { DECODERS, IMAGE_TOKEN, imageTokens, VISION, VOCABULARY } from "./variants.js";

/**
 * The text of config.json as the published checkpoints have it: what equals a class default is left out.
 * Source: google/paligemma-3b-pt-224 and google/paligemma2-3b-pt-224 on the hub.
 */
export function officialConfig(which: Case): string {
  const text = JSON.stringify(configFields(which), null, 2);
  // JavaScript writes 30 where Python wrote 30.0, and transformers checks that softcaps are no whole numbers.
  return `${text.replace(/(_softcapping": \d+)\b/g, "$1.0")}\n`;
}

function configFields(which: Case): object {
  const { hidden, modelType } = DECODERS[which.variant];
  const second = modelType === "gemma2";
  return {
    ...(second ? { _vocab_size: 257152 } : {}),
    architectures: ["PaliGemmaForConditionalGeneration"],
    bos_token_id: 2,
    eos_token_id: 1,
    hidden_size: 2048, // of the first model's decoder, in every file
    ignore_index: -100,
    image_token_index: IMAGE_TOKEN,
    model_type: "paligemma",
    pad_token_id: 0,
    projection_dim: hidden,
    text_config: textConfig(which),
    torch_dtype: which.dtype,
    vision_config: visionConfig(which, hidden),
    ...(second ? {} : { vocab_size: VOCABULARY }),
  };
}

function textConfig({ variant, dtype, resolution }: Case): object {
  const sizes = DECODERS[variant];
  const shared = {
    hidden_size: sizes.hidden,
    intermediate_size: sizes.mlp,
    model_type: sizes.modelType,
    num_attention_heads: sizes.heads,
    num_hidden_layers: sizes.layers,
    num_image_tokens: imageTokens(resolution),
    num_key_value_heads: sizes.keyHeads,
    torch_dtype: dtype,
    vocab_size: VOCABULARY,
  };
  if (sizes.modelType === "gemma") return shared;
  return {
    ...shared,
    architectures: ["Gemma2ForCausalLM"],
    attn_logit_softcapping: 50,
    cache_implementation: "hybrid",
    eos_token_id: [1, 107],
    final_logit_softcapping: 30,
    head_dim: sizes.headDim,
    hidden_act: "gelu_pytorch_tanh",
    hidden_activation: "gelu_pytorch_tanh",
    query_pre_attn_scalar: sizes.queryScalar,
    sliding_window: 4096,
  };
}

const visionConfig = ({ resolution }: Case, projectionDim: number): object => ({
  hidden_size: VISION.hidden,
  ...(resolution === 224 ? {} : { image_size: resolution }),
  intermediate_size: VISION.mlp,
  model_type: "siglip_vision_model",
  num_attention_heads: VISION.heads,
  num_hidden_layers: VISION.layers,
  num_image_tokens: imageTokens(resolution),
  patch_size: VISION.patch,
  projection_dim: projectionDim,
  projector_hidden_act: "gelu_fast",
  vision_use_head: false,
});

/** generation_config.json as the published checkpoints have it. */
export const officialGenerationConfig = (): object =>
  generationFields({ bosTokenId: 2, eosTokenIds: [1], padTokenId: 0 });

/** preprocessor_config.json as the published checkpoints have it. */
export const officialPreprocessorConfig = ({ resolution }: Case): object =>
  preprocessorFields(resolution, imageTokens(resolution));
