import * as tf from "@tensorflow/tfjs";

import { MASKED } from "../../layers/axes.js";
import type { CheckpointLayer } from "../../layers/checkpoint-layer.js";
import {
  Codebook,
  Convolution,
  GatedMLP,
  GemmaAttention,
  GemmaBlock,
  KVCache,
  LayerNorm,
  Linear,
  MaskDecoder,
  MaskEncoder,
  MaskVae,
  MLP,
  PatchEmbedding,
  PrefixLMMask,
  Projector,
  ResidualConvolutions,
  RMSNorm,
  RotaryEmbedding,
  ropeTables,
  SiglipAttention,
  SiglipBlock,
  TiedUnembedding,
  TokenEmbedding,
  TransposedConvolution,
} from "../../layers/index.js";

/** A layer with inputs of unequal sizes, and the names of its weights as checkpoints have them. */
export type LayerCase = {
  name: string;
  make: () => CheckpointLayer;
  /** Fresh tensors; the caller disposes them. */
  inputs: () => tf.Tensor[];
  weights: string[];
};

const [B, T, D, F, N, K, H, P] = [2, 5, 12, 20, 6, 2, 4, 6];
const attention = {
  hiddenSize: D,
  numAttentionHeads: N,
  numKeyValueHeads: K,
  headDim: H,
  queryPreAttnScalar: 7,
  attnLogitSoftcapping: 3,
};
const block = { ...attention, intermediateSize: F, rmsNormEps: 1e-6 };
const siglip = { hiddenSize: D, numAttentionHeads: 3, intermediateSize: F, layerNormEps: 1e-6 };

/** The same values on every backend: tfjs's own seeds differ between kernels. */
export function random(shape: number[], seed = 1): tf.Tensor {
  const size = shape.reduce((a, b) => a * b, 1);
  let state = seed * 2654435761;
  const uniform = () => ((state = (Math.imul(state, 1664525) + 1013904223) >>> 0) + 0.5) / 2 ** 32;
  const normal = () => Math.sqrt(-2 * Math.log(uniform())) * Math.cos(2 * Math.PI * uniform());
  return tf.tensor(Float32Array.from({ length: size }, normal), shape);
}

function decoderInputs(): tf.Tensor[] {
  const { cos, sin } = ropeTables(
    Array.from({ length: B }, () => [1, 2, 3, 4, 5]),
    H,
    10000,
  );
  const mask = tf.tidy(() =>
    tf
      .tile(tf.tensor(Array.from({ length: T }, (_, i) => [0, 0, 0, i > 2 ? 0 : MASKED, i > 3 ? 0 : MASKED])), [B, 1])
      .reshape([B, 1, T, T]),
  );
  return [random([B, T, D]), mask, cos, sin];
}

const linearNames = (names: string[], bias: boolean) =>
  names.flatMap((name) => (bias ? [`${name}/weight`, `${name}/bias`] : [`${name}/weight`]));
const siglipAttentionWeights = linearNames(["q_proj", "k_proj", "v_proj", "out_proj"], true);
const gemmaAttentionWeights = linearNames(["q_proj", "k_proj", "v_proj", "o_proj"], false);
const gatedWeights = linearNames(["gate_proj", "up_proj", "down_proj"], false);
const under = (path: string, names: string[]) => names.map((name) => `${path}/${name}`);

const residualWeights = linearNames(["net.0", "net.2", "net.4"], true);
const decoderWeights = [
  ...linearNames(["0"], true),
  ...under("2", residualWeights),
  ...under("3", residualWeights),
  ...linearNames(["4", "6", "8", "10", "12"], true),
];
const encoderWeights = [
  ...linearNames(["0", "2", "4", "6"], true),
  ...under("8", residualWeights),
  ...under("9", residualWeights),
  ...linearNames(["10"], true),
];
const [encoderWidths, decoderWidths] = [
  [2, 3, 4, 5],
  [6, 5, 4, 3, 2],
];

/** Every building block. */
export const layerCases: LayerCase[] = [
  {
    name: "Linear",
    make: () => new Linear({ units: F, useBias: true }),
    inputs: () => [random([B, T, D])],
    weights: ["weight", "bias"],
  },
  { name: "RMSNorm", make: () => new RMSNorm({ eps: 1e-6 }), inputs: () => [random([B, T, D])], weights: ["weight"] },
  {
    name: "LayerNorm",
    make: () => new LayerNorm({ eps: 1e-6 }),
    inputs: () => [random([B, T, D])],
    weights: ["weight", "bias"],
  },
  {
    name: "PatchEmbedding",
    make: () => new PatchEmbedding({ hiddenSize: D, patchSize: 5 }),
    inputs: () => [random([B, 10, 15, 3])],
    weights: ["patch_embedding.weight", "patch_embedding.bias", "position_embedding.weight"],
  },
  {
    name: "SiglipAttention",
    make: () => new SiglipAttention({ config: siglip }),
    inputs: () => [random([B, P, D])],
    weights: siglipAttentionWeights,
  },
  {
    name: "MLP",
    make: () => new MLP({ hiddenSize: D, intermediateSize: F }),
    inputs: () => [random([B, P, D])],
    weights: linearNames(["fc1", "fc2"], true),
  },
  {
    name: "SiglipBlock",
    make: () => new SiglipBlock({ config: siglip }),
    inputs: () => [random([B, P, D])],
    weights: [
      ...linearNames(["layer_norm1"], true),
      ...under("self_attn", siglipAttentionWeights),
      ...linearNames(["layer_norm2"], true),
      ...under("mlp", linearNames(["fc1", "fc2"], true)),
    ],
  },
  {
    name: "Projector",
    make: () => new Projector({ projectionDim: F }),
    inputs: () => [random([B, P, D])],
    weights: linearNames(["linear"], true),
  },
  {
    name: "TokenEmbedding",
    make: () => new TokenEmbedding({ vocabSize: 30, hiddenSize: D }),
    inputs: () => [tf.tensor2d([[0, 3, 29], [7, 7, 1]], undefined, "int32")], // prettier-ignore
    weights: ["weight"],
  },
  {
    name: "TiedUnembedding",
    make: () =>
      new TiedUnembedding({
        embedding: new TokenEmbedding({ name: "table", vocabSize: 30, hiddenSize: D }),
        finalLogitSoftcapping: 3,
      }),
    inputs: () => [random([B, T, D])],
    weights: [],
  },
  {
    name: "RotaryEmbedding",
    make: () => new RotaryEmbedding({ headDim: H, ropeTheta: 10000 }),
    inputs: () => [random([B, T, N, H]), tf.tensor2d([[1, 2, 3, 4, 5], [9, 8, 7, 6, 5]], undefined, "int32")], // prettier-ignore
    weights: [],
  },
  {
    name: "PrefixLMMask",
    make: () => new PrefixLMMask({ slidingWindow: 2 }),
    inputs: () => [tf.tensor2d([[1, 1, 1, 1], [0, 1, 1, 1]]), tf.tensor2d([[0, 0, 1, 1], [0, 0, 0, 1]])], // prettier-ignore
    weights: [],
  },
  {
    name: "GemmaAttention",
    make: () => new GemmaAttention({ config: attention }),
    inputs: decoderInputs,
    weights: gemmaAttentionWeights,
  },
  {
    name: "GatedMLP",
    make: () => new GatedMLP({ hiddenSize: D, intermediateSize: F }),
    inputs: () => [random([B, T, D])],
    weights: gatedWeights,
  },
  ...[true, false].map((postNorms) => ({
    name: `GemmaBlock ${postNorms ? "with" : "without"} post-norms`,
    make: () => new GemmaBlock({ config: { ...block, postNorms } }),
    inputs: decoderInputs,
    weights: [
      ...under("self_attn", gemmaAttentionWeights),
      ...under("mlp", gatedWeights),
      "input_layernorm/weight",
      ...(postNorms ? ["pre_feedforward_layernorm/weight"] : []),
      "post_attention_layernorm/weight",
      ...(postNorms ? ["post_feedforward_layernorm/weight"] : []),
    ],
  })),
  {
    name: "Convolution",
    make: () => new Convolution({ filters: F, kernelSize: 4, stride: 2 }),
    inputs: () => [random([B, 6, 10, 3])],
    weights: ["weight", "bias"],
  },
  {
    name: "TransposedConvolution",
    make: () => new TransposedConvolution({ filters: 3, kernelSize: 4, stride: 2 }),
    inputs: () => [random([B, 3, 5, F])],
    weights: ["weight", "bias"],
  },
  {
    name: "ResidualConvolutions",
    make: () => new ResidualConvolutions({ filters: 3 }),
    inputs: () => [random([B, 4, 5, 3])],
    weights: residualWeights,
  },
  {
    name: "Codebook",
    make: () => new Codebook({ codes: 30, width: D }),
    inputs: () => [tf.tensor2d([[0, 3, 29], [7, 7, 1]], undefined, "int32")], // prettier-ignore
    weights: ["embedding"],
  },
  {
    name: "MaskDecoder",
    make: () => new MaskDecoder({ widths: decoderWidths }),
    inputs: () => [random([B, 4, 4, D])],
    weights: decoderWeights,
  },
  {
    name: "MaskEncoder",
    make: () => new MaskEncoder({ widths: encoderWidths, codebookWidth: D }),
    inputs: () => [random([B, 64, 64, 1])],
    weights: encoderWeights,
  },
  {
    name: "MaskVae",
    make: () => new MaskVae({ config: { codes: 30, codebookWidth: D, encoderWidths, decoderWidths } }),
    inputs: () => [tf.tensor2d([Array.from({ length: 16 }, (_, i) => i), new Array<number>(16).fill(29)], undefined, "int32")], // prettier-ignore
    weights: ["vq_vae/embedding", ...under("decoder", decoderWeights), ...under("encoder", encoderWeights)],
  },
  {
    name: "KVCache",
    make: () => new KVCache({}),
    inputs: () => [random([B, T, K, H]), random([B, T, K, H], 2)],
    weights: [],
  },
];
