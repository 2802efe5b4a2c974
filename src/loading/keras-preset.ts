import { KERAS_VOCABULARY } from "../../weights/find-weights.js";
import { ConfigFields } from "../model/config-fields.js";
import type { TokenizerFolder } from "../input/tokenizer/tokenizer-files.js";

/** The only value that decoder blocks of keras-hub use. Source: keras-hub 0.32, models/gemma/gemma_decoder_block.py. */
const EPSILON = 1e-6;

/** Whether a parsed config.json is that of a keras-hub preset. */
export const isKerasConfig = (json: unknown): boolean =>
  typeof json === "object" && json !== null && (json as { class_name?: unknown }).class_name === "PaliGemmaBackbone";

/**
 * A preset's config.json in the words of Hugging Face's. `<image>` is the first id behind its vocabulary: Keras has no
 * token for pictures. Throws `ConfigError` that begins with `where` for values that no PaliGemma has. Source: keras-hub
 * 0.32, models/pali_gemma/pali_gemma_backbone.py and models/gemma/gemma_attention.py.
 */
export function configOfPreset(json: unknown, where: string): Record<string, unknown> {
  const fields = ConfigFields.of(json, where).object("config");
  const hidden = fields.integer("hidden_dim");
  if (fields.positive("layer_norm_epsilon", EPSILON) !== EPSILON) fields.refuse("layer_norm_epsilon", String(EPSILON));
  for (const name of ["vit_pooling", "vit_classifier_activation"]) {
    const plain = fields.raw(name) === undefined || (name !== "vit_pooling" && fields.raw(name) === "linear");
    if (!plain) fields.refuse(name, "null (PaliGemma's tower gives every patch, without an activation)");
  }
  const vocabulary = fields.integer("vocabulary_size");
  return {
    model_type: "paligemma",
    image_token_index: vocabulary,
    projection_dim: hidden,
    bos_token_id: 2,
    eos_token_id: 1,
    pad_token_id: 0,
    text_config: { ...textSizes(fields), vocab_size: vocabulary, hidden_size: hidden, ...generation(fields) },
    vision_config: {
      model_type: "siglip_vision_model",
      hidden_size: fields.integer("vit_hidden_dim"),
      intermediate_size: fields.integer("vit_intermediate_dim", 4304),
      num_hidden_layers: fields.integer("vit_num_layers"),
      num_attention_heads: fields.integer("vit_num_heads"),
      patch_size: fields.integer("vit_patch_size"),
      image_size: fields.integer("image_size"),
      projection_dim: hidden,
      vision_use_head: false,
    },
  };
}

function textSizes(fields: ConfigFields): Record<string, unknown> {
  const both = fields.integer("intermediate_dim");
  if (both % 2 !== 0) fields.refuse("intermediate_dim", "an even number, gate and up together");
  return {
    intermediate_size: both / 2,
    num_hidden_layers: fields.integer("num_layers"),
    num_attention_heads: fields.integer("num_query_heads"),
    num_key_value_heads: fields.integer("num_key_value_heads"),
    head_dim: fields.integer("head_dim"),
  };
}

/** Gemma 2 where there are norms behind attention and MLP; what only it has must then be off in Gemma 1. */
function generation(fields: ConfigFields): Record<string, unknown> {
  const isOn = (name: string): boolean => fields.raw(name) === true;
  const normalizes = fields.raw("query_head_dim_normalize") !== false;
  const postNorms = isOn("use_post_ffw_norm");
  if (isOn("use_post_attention_norm") !== postNorms)
    fields.refuse("use_post_attention_norm", `${postNorms}, as use_post_ffw_norm`);
  const caps = ["attention_logit_soft_cap", "final_logit_soft_cap"].map((name) => fields.positiveOrNull(name, null));
  if (!postNorms) {
    const only = (name: string): never => fields.refuse(name, "nothing without post-norms, as in Gemma 1");
    if (caps[0] !== null) only("attention_logit_soft_cap");
    if (caps[1] !== null) only("final_logit_soft_cap");
    if (isOn("use_sliding_window_attention")) only("use_sliding_window_attention");
    if (!normalizes) fields.refuse("query_head_dim_normalize", "true without post-norms, as in Gemma 1");
    return { model_type: "gemma" };
  }
  // keras-hub reads this and computes with the head size all the same; the model was trained with what it says.
  const perHead = Math.floor(fields.integer("hidden_dim") / fields.integer("num_query_heads"));
  const window = isOn("use_sliding_window_attention") ? fields.integer("sliding_window_size", 4096) : null;
  const full = Array<string>(fields.integer("num_layers")).fill("full_attention");
  return {
    model_type: "gemma2",
    query_pre_attn_scalar: normalizes ? fields.integer("head_dim") : perHead,
    attn_logit_softcapping: caps[0],
    final_logit_softcapping: caps[1],
    sliding_window: window,
    ...(window === null ? { layer_types: full } : {}),
  };
}

/** The name that a preset's vocabulary has in a folder of Hugging Face. */
const MODEL = "tokenizer.model";

/**
 * The folder as a tokenizer is read from it: of a preset only its vocabulary, as `tokenizer.model`, for its
 * tokenizer.json is a layer's description; any other folder as it is.
 */
export async function tokenizerFolder(folder: TokenizerFolder): Promise<TokenizerFolder> {
  if ((await folder.has(MODEL)) || !(await folder.has(KERAS_VOCABULARY))) return folder;
  return {
    name: folder.name,
    has: async (file) => file === MODEL,
    readJson: (file) => folder.readJson(file),
    readBytes: (file) => folder.readBytes(file === MODEL ? KERAS_VOCABULARY : file),
  };
}
