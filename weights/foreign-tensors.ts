/** What tensors beside or in place of a weight say about how it was quantised: an end of their names, and by what. */
const QUANTISED: readonly (readonly [pattern: RegExp, by: string])[] = [
  [/\.(qweight|qzeros|g_idx)$/, "GPTQ or AWQ"],
  [/\.(weight_packed|weight_shape|weight_zero_point)$/, "compressed-tensors"],
  [/\.(weight_scale|weight_scale_inv|input_scale|activation_scale)$/, "FP8"],
  [/\.(scales|biases)$/, "MLX"],
  [/\.(W_q|meta)$/, "HQQ"],
  [/\.weight\._(data|scale|shift)$/, "quanto"],
  [/\.(codebooks|codes)$/, "AQLM"],
  [
    /\.(absmax|quant_map|SCB)$|\.quant_state\./,
    "bitsandbytes, with tables that have no matrix or are of a kind that is not read",
  ],
];

/** Tensors of an adapter. */
const ADAPTER = /\.lora_(A|B|embedding_A|embedding_B|magnitude_vector)\b/;

/**
 * What a checkpoint is whose tensors are not those of the model, where names tell, with what to do; null where they do
 * not.
 */
export function whatItIs(unexpected: readonly string[], missing: readonly string[]): string | null {
  if (unexpected.some((name) => ADAPTER.test(name))) {
    return "It holds the tensors of a LoRA adapter: load its base model, with this as the adapter (--adapter).";
  }
  const by = QUANTISED.find(([pattern]) => unexpected.some((name) => pattern.test(name)))?.[1];
  if (by !== undefined) {
    return `The weights are quantised by ${by}; bitsandbytes' NF4, FP4 and int8 are read. Take the checkpoint that it was made from.`;
  }
  const lacks = (tower: string): boolean => missing.some((name) => name.startsWith(tower));
  if (lacks("vision_tower.") && lacks("multi_modal_projector.") && !lacks("language_model.model.layers.")) {
    return "It holds a decoder without a vision tower: a Gemma, and no PaliGemma.";
  }
  return null;
}
