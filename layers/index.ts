export { add } from "./add.js";
export { attend, attendInPieces, type ScoreScaling } from "./attend.js";
export { MASKED, ShapeError } from "./axes.js";
export {
  CheckpointLayer,
  listOf,
  shapesOf,
  symbolic,
  type CheckpointLayerArgs,
  type WeightScope,
} from "./checkpoint-layer.js";
export { CheckpointSequence } from "./checkpoint-sequence.js";
export { TokenEmbedding, type TokenEmbeddingArgs } from "./embedding.js";
export { GatedMLP } from "./gated-mlp.js";
export { geluTanh } from "./gelu.js";
export { GemmaAttention, type DecoderOptions, type GemmaAttentionConfig } from "./gemma-attention.js";
export { GemmaBlock, type GemmaBlockConfig, type GemmaBlockOptions } from "./gemma-block.js";
export {
  KERNELS,
  hasKernel,
  runKernel,
  runKernels,
  runUntaped,
  type Attributes,
  type KernelName,
  type KernelSignatures,
  type OneResult,
  type Operands,
  type SeveralResults,
  type Signature,
} from "./kernel.js";
export { KVCache } from "./kv-cache.js";
export { lastRow } from "./last-row.js";
export { LayerNorm, layerNorm } from "./layer-norm.js";
export { Linear, type LinearArgs } from "./linear.js";
export {
  addLowRank,
  eachRows,
  lowRankNorms,
  rowsOf,
  rowsWithLowRank,
  type GainAxis,
  type LowRank,
} from "./low-rank.js";
export { Codebook, type CodebookArgs } from "./mask-vae/codebook.js";
export { Convolution, TransposedConvolution, type ConvolutionArgs } from "./mask-vae/convolution.js";
export { MaskDecoder, type MaskDecoderArgs } from "./mask-vae/mask-decoder.js";
export { MaskEncoder, type MaskEncoderArgs } from "./mask-vae/mask-encoder.js";
export { MASK_SIDE, MaskVae, type MaskVaeConfig } from "./mask-vae/mask-vae.js";
export { ResidualConvolutions } from "./mask-vae/residual-convolutions.js";
export { batchMatMul } from "./matmul.js";
export { Matrix, type ProductOptions } from "./matrix.js";
export { MLP } from "./mlp.js";
export { PatchEmbedding, type PatchEmbeddingArgs } from "./patch-embedding.js";
export { PrefixLMMask, maskAsText, prefixLmMask } from "./prefix-lm-mask.js";
export { Projector } from "./projector.js";
export { RMSNorm, rmsNorm } from "./rms-norm.js";
export { RotaryEmbedding, applyRope, ropeTables, rotaryFrequencies } from "./rope.js";
export { SiglipAttention, type SiglipAttentionConfig } from "./siglip-attention.js";
export { SiglipBlock, type SiglipBlockConfig } from "./siglip-block.js";
export { softcap } from "./softcap.js";
export { dense, heldDtype, markHeld, type HeldDtype } from "./stored.js";
export { inTurn, listens, noTap, tapAt, type Tap } from "./tap.js";
export {
  OutputHead,
  TiedUnembedding,
  Unembedding,
  type TiedUnembeddingArgs,
  type UnembeddingArgs,
} from "./unembedding.js";
export { Weight, type WeightSource } from "./weight.js";
