import { ConfigFields } from "./config-fields.js";
import { refuseOtherQuantisation } from "./quantisation-config.js";
import { parseRopeTheta } from "./rope-config.js";

/** SigLIP's sizes and constants. */
export type VisionConfig = {
  hiddenSize: number;
  intermediateSize: number;
  numHiddenLayers: number;
  numAttentionHeads: number;
  numChannels: number;
  imageSize: number;
  patchSize: number;
  layerNormEps: number;
};

/** How far back a decoder layer looks behind the open block. */
export type LayerType = "sliding_attention" | "full_attention";

/** The Gemma decoder's sizes and constants. What a generation lacks is null or false. */
export type TextConfig = {
  vocabSize: number;
  hiddenSize: number;
  intermediateSize: number;
  numHiddenLayers: number;
  numAttentionHeads: number;
  numKeyValueHeads: number;
  headDim: number;
  maxPositionEmbeddings: number;
  rmsNormEps: number;
  ropeTheta: number;
  queryPreAttnScalar: number;
  attnLogitSoftcapping: number | null;
  finalLogitSoftcapping: number | null;
  slidingWindow: number | null;
  layerTypes: LayerType[];
  postNorms: boolean;
  /** Whether the output head is the token table. */
  tieWordEmbeddings: boolean;
};

/**
 * More layers than this are a mistake in the file: layers are made before weights are compared, and the largest model
 * has 46.
 */
const MAX_LAYERS = 1024;

/** A whole model: both towers and the ids that tie text to pictures. Every field is read by something. */
export type PaliGemmaConfig = {
  vision: VisionConfig;
  text: TextConfig;
  imageTokenId: number;
  bosTokenId: number;
  eosTokenIds: number[];
  padTokenId: number;
};

/** Image tokens of one picture, P = (imageSize / patchSize)²; the config's own counts are wrong in many files. */
export const numImageTokens = (config: PaliGemmaConfig): number => patchGrid(config) ** 2;

/** Patches along one side of the picture. */
export const patchGrid = (config: PaliGemmaConfig): number => config.vision.imageSize / config.vision.patchSize;

/**
 * Reads a parsed config.json: left-out values get the defaults of the class that wrote the file, legacy spellings are
 * understood, and every value is range-checked. Throws `ConfigError` naming `where` and the field.
 * Source: huggingface/transformers 5.18, models/{paligemma,gemma,gemma2,siglip}/configuration_*.py.
 */
export function parseConfig(json: unknown, where = "config.json"): PaliGemmaConfig {
  const top = ConfigFields.of(json, where);
  if (top.raw("model_type") !== "paligemma") {
    top.refuse("model_type", '"paligemma" (PaliGemma 1 and 2; other architectures are not supported)');
  }
  const textFields = top.object("text_config");
  for (const fields of [top, textFields]) refuseOtherQuantisation(fields);
  // Only the top level's counts: the decoder in text_config has no head of its own.
  const tieWordEmbeddings = top.flag("tie_word_embeddings", true);
  const text = { ...parseText(textFields), tieWordEmbeddings };
  const vision = parseVision(top.object("vision_config"), text.hiddenSize);
  // The fallbacks are the Gemma classes' defaults, which a file may leave out.
  const specialId = (name: string, fallback: number) =>
    (top.raw(name) === undefined ? textFields : top).integer(name, fallback, 0, text.vocabSize - 1);
  return {
    vision,
    text,
    imageTokenId: parseImageTokenId(top, text.vocabSize),
    bosTokenId: specialId("bos_token_id", 2),
    eosTokenIds: parseEos(top, textFields, text.vocabSize),
    padTokenId: specialId("pad_token_id", 0),
  };
}

function parseVision(fields: ConfigFields, textHiddenSize: number): VisionConfig {
  fields.word("model_type", ["siglip_vision_model"], "siglip_vision_model");
  fields.word("hidden_act", ["gelu_pytorch_tanh"], "gelu_pytorch_tanh");
  // The top level repeats it, but files of 5.x hold the class default 2048 there whatever the model has.
  if (fields.integer("projection_dim", textHiddenSize) !== textHiddenSize) {
    fields.refuse("projection_dim", `the text hidden size ${textHiddenSize}`);
  }
  const config: VisionConfig = {
    hiddenSize: fields.integer("hidden_size", 768),
    intermediateSize: fields.integer("intermediate_size", 3072),
    numHiddenLayers: fields.integer("num_hidden_layers", 12, 1, MAX_LAYERS),
    numAttentionHeads: fields.integer("num_attention_heads", 12),
    numChannels: fields.integer("num_channels", 3, 3, 3),
    imageSize: fields.integer("image_size", 224),
    // The SigLIP class says 16; every PaliGemma tower is a So400m/14, and its weights' shapes are checked anyway.
    patchSize: fields.integer("patch_size", 14),
    layerNormEps: fields.positive("layer_norm_eps", 1e-6),
  };
  if (config.hiddenSize % config.numAttentionHeads !== 0) {
    fields.refuse("num_attention_heads", `a divisor of hidden_size ${config.hiddenSize}`);
  }
  if (config.imageSize % config.patchSize !== 0) {
    fields.refuse("image_size", `a multiple of patch_size ${config.patchSize}`);
  }
  return config;
}

/** What a left-out field of each text class means. Source: configuration_gemma.py, configuration_gemma2.py. */
const TEXT_DEFAULTS = {
  gemma: { hidden: 3072, intermediate: 24576, layers: 28, heads: 16, keyHeads: 16 },
  gemma2: { hidden: 2304, intermediate: 9216, layers: 26, heads: 8, keyHeads: 4 },
} as const;

function parseText(fields: ConfigFields): Omit<TextConfig, "tieWordEmbeddings"> {
  const modelType = fields.word("model_type", ["gemma", "gemma2"]);
  const defaults = TEXT_DEFAULTS[modelType];
  refuseWhatIsNotGemma(fields, modelType);
  const headDim = fields.integer("head_dim", 256);
  if (headDim % 2 !== 0) fields.refuse("head_dim", "an even number (rotary pairs)");
  const sizes = {
    vocabSize: fields.integer("vocab_size", 256000),
    hiddenSize: fields.integer("hidden_size", defaults.hidden),
    intermediateSize: fields.integer("intermediate_size", defaults.intermediate),
    numHiddenLayers: fields.integer("num_hidden_layers", defaults.layers, 1, MAX_LAYERS),
    numAttentionHeads: fields.integer("num_attention_heads", defaults.heads),
    numKeyValueHeads: fields.integer("num_key_value_heads", defaults.keyHeads),
    headDim,
    maxPositionEmbeddings: fields.integer("max_position_embeddings", 8192),
    rmsNormEps: fields.positive("rms_norm_eps", 1e-6),
    ropeTheta: parseRopeTheta(fields),
  };
  if (sizes.numAttentionHeads % sizes.numKeyValueHeads !== 0) {
    fields.refuse("num_key_value_heads", `a divisor of num_attention_heads ${sizes.numAttentionHeads}`);
  }
  return { ...sizes, ...(modelType === "gemma2" ? gemma2Parts(fields, sizes) : gemmaParts(sizes)) };
}

type GenerationParts = Pick<
  TextConfig,
  "queryPreAttnScalar" | "attnLogitSoftcapping" | "finalLogitSoftcapping" | "slidingWindow" | "layerTypes" | "postNorms"
>;

function gemmaParts(sizes: { headDim: number; numHiddenLayers: number }): GenerationParts {
  return {
    queryPreAttnScalar: sizes.headDim,
    attnLogitSoftcapping: null,
    finalLogitSoftcapping: null,
    slidingWindow: null,
    layerTypes: Array<LayerType>(sizes.numHiddenLayers).fill("full_attention"),
    postNorms: false,
  };
}

function gemma2Parts(fields: ConfigFields, sizes: { numHiddenLayers: number }): GenerationParts {
  // Left out means the class default, as transformers 5.18 reads it; only null means no window.
  const slidingWindow = fields.positiveOrNull("sliding_window", 4096);
  if (slidingWindow !== null && !Number.isSafeInteger(slidingWindow)) fields.refuse("sliding_window", "a whole number");
  return {
    queryPreAttnScalar: fields.positive("query_pre_attn_scalar", 256),
    attnLogitSoftcapping: fields.positiveOrNull("attn_logit_softcapping", 50),
    finalLogitSoftcapping: fields.positiveOrNull("final_logit_softcapping", 30),
    slidingWindow,
    layerTypes: parseLayerTypes(fields, sizes.numHiddenLayers),
    postNorms: true,
  };
}

function parseLayerTypes(fields: ConfigFields, layers: number): LayerType[] {
  const listed = fields.raw("layer_types");
  const alternating = (_: unknown, i: number): LayerType => (i % 2 === 0 ? "sliding_attention" : "full_attention");
  if (listed === undefined) return Array.from({ length: layers }, alternating);
  const known = (type: unknown) => type === "sliding_attention" || type === "full_attention";
  if (!Array.isArray(listed) || listed.length !== layers || !listed.every(known)) {
    fields.refuse("layer_types", `${layers} times "sliding_attention" or "full_attention"`);
  }
  return listed as LayerType[];
}

function refuseWhatIsNotGemma(fields: ConfigFields, modelType: "gemma" | "gemma2"): void {
  // Each class reads one of the two names. "gelu" means the tanh form in the first files of Gemma, and the exact one in
  // Gemma 2.
  if (modelType === "gemma") fields.word("hidden_act", ["gelu_pytorch_tanh", "gelu"], "gelu_pytorch_tanh");
  else fields.word("hidden_activation", ["gelu_pytorch_tanh"], "gelu_pytorch_tanh");
  if (modelType === "gemma" && fields.raw("sliding_window") !== undefined) {
    fields.refuse("sliding_window", "null (the first Gemma has no window)");
  }
  fields.fixed("attention_bias", false, "Gemma has no biases");
  fields.fixed("is_causal", true, "what follows the prompt sees what stands before it");
  fields.flag("tie_word_embeddings", true);
}

// It may be the first id behind the table: its place is filled by a picture, and no row is read for it.
function parseImageTokenId(top: ConfigFields, vocabSize: number): number {
  const name = top.raw("image_token_id") === undefined ? "image_token_index" : "image_token_id";
  return top.integer(name, undefined, 0, vocabSize);
}

// The top level counts where it is there: PaliGemma 2 files list [1, 107] below text_config.
function parseEos(top: ConfigFields, text: ConfigFields, vocabSize: number): number[] {
  const fields = top.raw("eos_token_id") === undefined ? text : top;
  const value = fields.raw("eos_token_id") ?? 1;
  const ids = Array.isArray(value) ? value : [value];
  const valid = (id: unknown) => Number.isSafeInteger(id) && (id as number) >= 0 && (id as number) < vocabSize;
  if (ids.length === 0 || !ids.every(valid))
    fields.refuse("eos_token_id", `an id below ${vocabSize}, or a list of them`);
  return ids as number[];
}

/** Names the model in words, from its sizes: "PaliGemma 2, 224 px". */
export function describeVariant(config: PaliGemmaConfig): string {
  return `PaliGemma ${config.text.postNorms ? 2 : 1}, ${config.vision.imageSize} px`;
}
