/** The sizes in which a PaliGemma was published. */
export type Variant = "paligemma-3b" | "paligemma2-3b" | "paligemma2-10b" | "paligemma2-28b";

/** What differs between the decoders; the vision tower is one and the same. */
export type DecoderSizes = {
  modelType: "gemma" | "gemma2";
  hidden: number;
  layers: number;
  heads: number;
  keyHeads: number;
  headDim: number;
  mlp: number;
  /** Queries are divided by the root of this. */
  queryScalar: number;
};

/** Source: the published config.json files of google/paligemma-3b-pt-224 and google/paligemma2-{3b,10b,28b}-pt-224. */
export const DECODERS: Readonly<Record<Variant, DecoderSizes>> = {
  "paligemma-3b": {
    modelType: "gemma",
    hidden: 2048,
    layers: 18,
    heads: 8,
    keyHeads: 1,
    headDim: 256,
    mlp: 16384,
    queryScalar: 256,
  },
  "paligemma2-3b": {
    modelType: "gemma2",
    hidden: 2304,
    layers: 26,
    heads: 8,
    keyHeads: 4,
    headDim: 256,
    mlp: 9216,
    queryScalar: 256,
  },
  "paligemma2-10b": {
    modelType: "gemma2",
    hidden: 3584,
    layers: 42,
    heads: 16,
    keyHeads: 8,
    headDim: 256,
    mlp: 14336,
    queryScalar: 256,
  },
  "paligemma2-28b": {
    modelType: "gemma2",
    hidden: 4608,
    layers: 46,
    heads: 32,
    keyHeads: 16,
    headDim: 128,
    mlp: 36864,
    queryScalar: 144,
  },
};

/** SigLIP So400m/14, the vision tower of every variant. */
export const VISION = { hidden: 1152, layers: 27, heads: 16, mlp: 4304, patch: 14 } as const;

/** Rows of the embedding in the files: 257152 tokens and 64 spare rows, of which the first stands for pictures. */
export const VOCABULARY = 257216;

/** The id that holds a place for a piece of a picture. */
export const IMAGE_TOKEN = 257152;

/** Image tokens of one picture. */
export const imageTokens = (resolution: number): number => (resolution / VISION.patch) ** 2;
