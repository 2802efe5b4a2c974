import * as tf from "@tensorflow/tfjs";

import { InputError } from "../base/errors.js";
import type { ModelInputs } from "../model/inputs.js";
import { anything, checkOptions, flag, list, type OptionKinds } from "../base/options.js";
import type { PaliGemma } from "../paligemma.js";
import type { Question } from "../answering/question.js";
import { requireFiniteNumbers } from "./finite-numbers.js";
import { checkIndices } from "../hooks/indices.js";
import type { Positions } from "../hooks/positions.js";

/** What adds to the residual stream: the embedded row, each block's attention or one head of it, each block's MLP. */
export type Component = { kind: "embed" | "attn" | "mlp" | "head"; layer: number | null; head: number | null };

/** The share of a component in the logits of the asked tokens. */
export type Share = Component & { shares: number[] };

/** The logits of some tokens at one position as sums of shares. */
export type Attribution = {
  position: number;
  tokens: number[];
  /** Shares of the components; those of heads stand beside their block's attention and are not counted again. */
  components: Share[];
  /** Logits before the final cap, as the run has them. */
  logits: number[];
  /** Sums of the shares; they differ from `logits` by rounding alone. */
  sums: number[];
};

/** Which tokens are asked about, and how finely. */
export type AttributionRequest = {
  tokens: readonly number[];
  /** One position of the first row. Default "last". */
  positions?: Positions | undefined;
  /** Whether each head has its own share beside its block's. Default no. */
  heads?: boolean | undefined;
};

const WHERE_KINDS: OptionKinds<Omit<AttributionRequest, "tokens">> = { positions: anything, heads: flag };
const ATTRIBUTION_KINDS: OptionKinds<AttributionRequest> = { ...WHERE_KINDS, tokens: list };

/** The residual stream at one position as the sum of what was added to it. Dispose `rows` and `scale`. */
export type Decomposition = {
  position: number;
  components: Component[];
  /**
   * What each component adds, [components, D]; heads stand beside their block's attention and are not to be counted
   * again.
   */
  rows: tf.Tensor2D;
  /** The stream behind the last block, [1, D]: the sum of all rows but those of heads. */
  stream: tf.Tensor2D;
  /** The divisor of the final norm there, [1, 1]. */
  scale: tf.Tensor2D;
};

/**
 * Decomposes the residual stream behind the last block at one position of the first row: what enters the first block,
 * and what each block's attention (and each head of it, if asked) and MLP add. The caller disposes the tensors.
 */
export async function residualDecomposition(
  model: PaliGemma,
  question: Question | ModelInputs,
  where: Omit<AttributionRequest, "tokens"> = {},
): Promise<Decomposition> {
  const { positions = "last", heads = false } = checkOptions("residualDecomposition", where, WHERE_KINDS);
  const { numHiddenLayers, postNorms } = model.config.text;
  const hooks = [
    "language.blocks.0.hook_resid_pre",
    "language.blocks.*.{hook_attn_out,hook_mlp_out}",
    `language.blocks.${numHiddenLayers - 1}.hook_resid_post`,
    "language.ln_final.hook_scale",
    ...(heads ? ["language.blocks.*.attn.hook_z"] : []),
    ...(heads && postNorms ? ["language.blocks.*.ln1_post.hook_scale"] : []),
  ];
  const { cache } = await model.runWithCache(question, { hooks, positions, stopAt: "needed" });
  try {
    const [at] = cache.describe("language.ln_final.hook_scale").positions!;
    if (at!.length !== 1) throw new InputError(`positions: expected one position, received ${at!.length}`);
    const tensors = tf.tidy(() => decompose(model, (name) => cache.get(`language.${name}`), heads));
    return { position: at![0]!, components: componentsOf(model, heads), ...tensors };
  } finally {
    cache.dispose();
  }
}

/**
 * Direct logit attribution: a component c adds (c / scale) · (1 + w) · E[token] to a token's logit, with the final
 * norm's own scale and weight; the shares sum to the logit before the cap. Throws `InputError` for tokens outside the
 * vocabulary or more than one position.
 */
export async function directLogitAttribution(
  model: PaliGemma,
  question: Question | ModelInputs,
  request: AttributionRequest,
): Promise<Attribution> {
  const { tokens, ...where } = checkOptions("directLogitAttribution", request, ATTRIBUTION_KINDS);
  const { vocabSize } = model.config.text;
  if (checkIndices("tokens", tokens, vocabSize, "ids").length === 0) {
    throw new InputError(`tokens: expected ids in [0, ${vocabSize}), received none`);
  }
  const { position, components: parts, rows, stream, scale } = await residualDecomposition(model, question, where);
  const found = tf.tidy(() => {
    const directions = model.network.language.directions(tokens) as tf.Tensor2D;
    const against = (x: tf.Tensor2D) => tf.matMul(x.div<tf.Tensor2D>(scale), directions, false, true);
    return { shares: against(rows), logits: against(stream) };
  });
  try {
    for (const numbers of [found.logits, found.shares]) {
      await requireFiniteNumbers(`attribution: expected finite logits at position ${position}`, numbers);
    }
    const shares = (await found.shares.array()) as number[][];
    const [logits] = (await found.logits.array()) as number[][];
    const components = parts.map((component, i) => ({ ...component, shares: shares[i]! }));
    const counted = components.filter(({ kind }) => kind !== "head");
    const sums = tokens.map((_, i) => counted.reduce((sum, one) => sum + one.shares[i]!, 0));
    return { position, tokens: [...tokens], components, logits: logits!, sums };
  } finally {
    tf.dispose([rows, stream, scale, found.shares, found.logits]);
  }
}

function componentsOf(model: PaliGemma, heads: boolean): Component[] {
  const { numHiddenLayers, numAttentionHeads } = model.config.text;
  const components: Component[] = [{ kind: "embed", layer: null, head: null }];
  for (let layer = 0; layer < numHiddenLayers; layer++) {
    components.push({ kind: "attn", layer, head: null });
    for (let head = 0; heads && head < numAttentionHeads; head++) components.push({ kind: "head", layer, head });
    components.push({ kind: "mlp", layer, head: null });
  }
  return components;
}

// Rows in the order of `componentsOf`.
function decompose(model: PaliGemma, get: (name: string) => tf.Tensor, heads: boolean) {
  const { numHiddenLayers, numAttentionHeads: N, hiddenSize: D, postNorms } = model.config.text;
  const rows = [firstRows(get("blocks.0.hook_resid_pre"), [1, D])];
  for (let layer = 0; layer < numHiddenLayers; layer++) {
    rows.push(firstRows(get(`blocks.${layer}.hook_attn_out`), [1, D]));
    if (heads) {
      const scale = postNorms ? get(`blocks.${layer}.ln1_post.hook_scale`) : null;
      const outputs = model.network.language.attnOutByHead(layer, get(`blocks.${layer}.attn.hook_z`), scale);
      rows.push(firstRows(outputs, [N, D]));
    }
    rows.push(firstRows(get(`blocks.${layer}.hook_mlp_out`), [1, D]));
  }
  const stream = firstRows(get(`blocks.${numHiddenLayers - 1}.hook_resid_post`), [1, D]).clone();
  return { rows: tf.concat(rows), stream, scale: firstRows(get("ln_final.hook_scale"), [1, 1]).clone() };
}

// What belongs to the first batch row.
const firstRows = (x: tf.Tensor, shape: [number, number]): tf.Tensor2D =>
  x
    .flatten()
    .slice([0], [shape[0] * shape[1]])
    .reshape(shape);
