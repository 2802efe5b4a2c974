import { isDeepStrictEqual } from "node:util";

import { type PaliGemmaConfig, parseConfig, type TextConfig, type VisionConfig } from "../../model/config.js";
import { ConfigError } from "../../base/errors.js";

type Json = Record<string, unknown>;

/**
 * config.json of a model in Hugging Face's words, for tensors of `dtype` ("mixed": not said). `original` is that of the
 * checkpoint, whose fields are kept where it has one (what it says of quantised weights is not: these are written
 * unpacked). Throws `ConfigError` where the result would be read as another model.
 */
export function hubConfig(config: PaliGemmaConfig, original: unknown, dtype: string): Json {
  const base = (original ?? {}) as Json;
  const same = original !== null && isDeepStrictEqual(parsed(base), config) && !ropeByLayerType(base);
  const merged: Json = same ? { ...base } : { ...base, ...topLevel(config), ...subConfigs(config, base) };
  delete merged.quantization_config;
  const result = { architectures: ["PaliGemmaForConditionalGeneration"], ...withDtype(merged, dtype) };
  if (!isDeepStrictEqual(parseConfig(result), config)) {
    throw new ConfigError(
      "config.json: what would be written is read as another model; this is a bug, please report it",
    );
  }
  return result;
}

/** Whether the rotary base is given by type of layer, which is read here and not by transformers 5.18. */
function ropeByLayerType({ text_config: text }: Json): boolean {
  const parameters = ((text as Json | undefined)?.rope_parameters ?? {}) as Json;
  return Object.values(parameters).some((value) => typeof value === "object" && value !== null);
}

function parsed(json: Json): PaliGemmaConfig | null {
  try {
    return parseConfig(json);
  } catch {
    return null;
  }
}

function topLevel({ text, imageTokenId, bosTokenId, eosTokenIds, padTokenId }: PaliGemmaConfig): Json {
  return {
    model_type: "paligemma",
    bos_token_id: bosTokenId,
    eos_token_id: eosTokenIds.length === 1 ? eosTokenIds[0] : eosTokenIds,
    hidden_size: text.hiddenSize,
    image_token_index: imageTokenId,
    pad_token_id: padTokenId,
    projection_dim: text.hiddenSize,
    tie_word_embeddings: text.tieWordEmbeddings,
    vocab_size: text.vocabSize,
  };
}

function subConfigs({ text, vision }: PaliGemmaConfig, base: Json): Json {
  // Where it is there, rope_scaling counts before what is written.
  const textBase = { ...(base.text_config as Json | undefined) };
  delete textBase.rope_scaling;
  return {
    text_config: { ...textBase, ...textWords(text) },
    vision_config: { ...(base.vision_config as Json | undefined), ...visionWords(vision, text.hiddenSize) },
  };
}

/**
 * A decoder's words. The angle's base is named twice: by itself before transformers 5, within `rope_parameters` since.
 */
function textWords(text: TextConfig): Json {
  const gemma2 = {
    attn_logit_softcapping: text.attnLogitSoftcapping,
    final_logit_softcapping: text.finalLogitSoftcapping,
    layer_types: text.layerTypes,
    query_pre_attn_scalar: text.queryPreAttnScalar,
    sliding_window: text.slidingWindow,
  };
  return {
    model_type: text.postNorms ? "gemma2" : "gemma",
    attention_bias: false,
    head_dim: text.headDim,
    hidden_activation: "gelu_pytorch_tanh",
    hidden_size: text.hiddenSize,
    intermediate_size: text.intermediateSize,
    max_position_embeddings: text.maxPositionEmbeddings,
    num_attention_heads: text.numAttentionHeads,
    num_hidden_layers: text.numHiddenLayers,
    num_key_value_heads: text.numKeyValueHeads,
    rms_norm_eps: text.rmsNormEps,
    rope_parameters: { rope_theta: text.ropeTheta, rope_type: "default" },
    rope_theta: text.ropeTheta,
    tie_word_embeddings: text.tieWordEmbeddings,
    vocab_size: text.vocabSize,
    ...(text.postNorms ? gemma2 : {}),
  };
}

const visionWords = (vision: VisionConfig, projection: number): Json => ({
  model_type: "siglip_vision_model",
  hidden_act: "gelu_pytorch_tanh",
  hidden_size: vision.hiddenSize,
  image_size: vision.imageSize,
  intermediate_size: vision.intermediateSize,
  layer_norm_eps: vision.layerNormEps,
  num_attention_heads: vision.numAttentionHeads,
  num_channels: vision.numChannels,
  num_hidden_layers: vision.numHiddenLayers,
  patch_size: vision.patchSize,
  projection_dim: projection,
  vision_use_head: false,
});

/** Says the type once, at the top, in the word that is there: `torch_dtype` before transformers 4.56, `dtype` since. */
function withDtype(json: Json, dtype: string): Json {
  const word = "torch_dtype" in json ? "torch_dtype" : "dtype";
  const subs = ["text_config", "vision_config"].map((name) => [name, silent(json[name] as Json)] as const);
  const rest = { ...silent(json), ...Object.fromEntries(subs) };
  return dtype === "mixed" ? rest : { ...rest, [word]: dtype };
}

const silent = (json: Json): Json =>
  Object.fromEntries(Object.entries(json).filter(([name]) => name !== "dtype" && name !== "torch_dtype"));
