import * as tf from "@tensorflow/tfjs";

import { InputError } from "../errors.js";
import type { ModelInputs } from "../inputs.js";
import type { PaliGemma, Question } from "../paligemma.js";
import type { Positions } from "./positions.js";

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

/**
 * Direct logit attribution: a component c adds (c / scale) · (1 + w) · E[token] to a token's logit, with the final norm's own
 * scale and weight. Components are what enters the first block and what each block adds; the shares sum to the logit before the cap.
 * Throws `InputError` for tokens outside the vocabulary or more than one position.
 */
export async function directLogitAttribution(
  model: PaliGemma,
  question: Question | ModelInputs,
  { tokens, positions = "last", heads = false }: AttributionRequest,
): Promise<Attribution> {
  const { vocabSize, numHiddenLayers, postNorms } = model.config.text;
  const wrong = tokens.find((id) => !Number.isSafeInteger(id) || id < 0 || id >= vocabSize);
  if (tokens.length === 0 || wrong !== undefined) {
    throw new InputError(`tokens: expected ids in [0, ${vocabSize}), received ${wrong ?? "none"}`);
  }
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
    const at = cache.describe("language.ln_final.hook_scale").positions!;
    if (at[0]!.length !== 1) throw new InputError(`positions: expected one position, received ${at[0]!.length}`);
    const get = (name: string) => cache.get(`language.${name}`);
    const all = tf.tidy(() => sharesOf(model, [...tokens], get, heads));
    const numbers = (await all.shares.array()) as number[][];
    const logits = Array.from(await all.logits.data());
    tf.dispose([all.shares, all.logits]);
    const components = componentsOf(model, heads).map((component, i) => ({ ...component, shares: numbers[i]! }));
    const counted = components.filter(({ kind }) => kind !== "head");
    const sums = tokens.map((_, i) => counted.reduce((sum, { shares }) => sum + shares[i]!, 0));
    return { position: at[0]![0]!, tokens: [...tokens], components, logits, sums };
  } finally {
    cache.dispose();
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

// Shares [components, tokens], in the order of `componentsOf`, and the logits [tokens].
function sharesOf(model: PaliGemma, tokens: number[], get: (name: string) => tf.Tensor, heads: boolean) {
  const { numHiddenLayers, numAttentionHeads, hiddenSize, postNorms } = model.config.text;
  const rows = [first(get("blocks.0.hook_resid_pre"), hiddenSize)];
  for (let layer = 0; layer < numHiddenLayers; layer++) {
    rows.push(first(get(`blocks.${layer}.hook_attn_out`), hiddenSize));
    if (heads) {
      const scale = postNorms ? get(`blocks.${layer}.ln1_post.hook_scale`) : null;
      const shares = model.network.language.attnOutByHead(layer, get(`blocks.${layer}.attn.hook_z`), scale);
      rows.push(first(shares, numAttentionHeads * hiddenSize).reshape([numAttentionHeads, hiddenSize]));
    }
    rows.push(first(get(`blocks.${layer}.hook_mlp_out`), hiddenSize));
  }
  const scale = first(get("ln_final.hook_scale"), 1);
  const directions = model.network.language.directions(tokens);
  const against = (x: tf.Tensor) => tf.matMul(x.div(scale) as tf.Tensor2D, directions as tf.Tensor2D, false, true);
  const final = first(get(`blocks.${numHiddenLayers - 1}.hook_resid_post`), hiddenSize);
  return { shares: against(tf.concat(rows)), logits: against(final).flatten() };
}

// The row of the first batch entry.
const first = (x: tf.Tensor, size: number): tf.Tensor => x.flatten().slice([0], [size]).reshape([1, size]);
