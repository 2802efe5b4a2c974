/**
 * One planted mistake: `find` stands exactly once in `file`, and `reference` is the case that must notice `replace`.
 */
export type Mutation = {
  name: string;
  file: string;
  find: string;
  replace: string;
  reference: string;
  /** Where it shows: in an activation of one forward pass, or only in the ids decoded step by step. */
  shows: "hooks" | "greedy";
};

const inFile = (
  file: string,
  reference: string,
  shows: Mutation["shows"],
  rows: [string, string, string][],
): Mutation[] => rows.map(([name, find, replace]) => ({ name, file, find, replace, reference, shows }));

/** Mistakes that real ports made, and some that they could have made. */
export const mutations: Mutation[] = [
  ...inFile("layers/rms-norm.ts", "tiny-pg1/prompt", "hooks", [
    ["RMSNorm without the added 1", "weight.add(1)", "weight"],
    ["RMSNorm with 2 added", "weight.add(1)", "weight.add(2)"],
    [
      "RMSNorm that centres on the mean",
      "x.square().mean(-1, true)",
      "x.sub(x.mean(-1, true)).square().mean(-1, true)",
    ],
    ["RMSNorm with an epsilon 100 times too large", ".add(eps)", ".add(eps * 100)"],
  ]),
  ...inFile("layers/layer-norm.ts", "tiny-pg1/prompt", "hooks", [
    ["LayerNorm without its bias", ".mul(weight).add(bias)", ".mul(weight)"],
    ["LayerNorm that does not centre", "const centred = () => x.sub(x.mean(-1, true))", "const centred = () => x"],
    ["LayerNorm with an epsilon 100 times too large", ".add(eps)", ".add(eps * 100)"],
  ]),
  ...inFile("layers/prefix-lm-mask.ts", "tiny-pg2/suffix", "hooks", [
    ["a causal prompt", "causal.logicalOr(block)", "causal"],
    ["everything open", "causal.logicalOr(block)", "causal.logicalOr(block).logicalOr(tf.scalar(true))"],
    [
      "the suffix inside the block",
      "tokenTypes.toFloat().equal(tf.scalar(0))",
      "tokenTypes.toFloat().lessEqual(tf.scalar(1))",
    ],
    ["a window one position too wide", "query.sub(window)", "query.sub(window + 1)"],
    ["a window one position too narrow", "query.sub(window)", "query.sub(window - 1)"],
    [
      "the window applied inside the block",
      "causal.logicalOr(block)",
      "causal.logicalOr(window === null ? block : block.logicalAnd(tf.greater(key, query.sub(window))))",
    ],
  ]),
  ...inFile("layers/prefix-lm-mask.ts", "tiny-pg2/padded", "hooks", [
    ["pads visible as keys", ".logicalAnd(attentionMask.toFloat().greater(tf.scalar(0)).expandDims(1))", ""],
  ]),
  ...inFile("src/model/gemma.ts", "tiny-pg2/suffix", "hooks", [
    ["no window", 'this.settings.slidingWindow === "off" ? null : this.config.slidingWindow', "null"],
    [
      "the window on the odd layers",
      "full_attention: full, sliding_attention: sliding",
      "full_attention: sliding, sliding_attention: full",
    ],
    [
      "the window on all layers",
      "full_attention: full, sliding_attention: sliding",
      "full_attention: sliding, sliding_attention: sliding",
    ],
    [
      "the final cap applied against the switch",
      'finalLogitSoftcapping === "config"',
      'finalLogitSoftcapping !== "config"',
    ],
    [
      "no final norm of the decoder",
      'run(this.unembed, run(this.lnFinal, asked, "ln_final"), "unembed")',
      'run(this.unembed, asked, "unembed")',
    ],
  ]),
  ...inFile("src/model/gemma.ts", "tiny-pg2/prompt", "greedy", [
    ["no window while generating", 'this.settings.slidingWindow === "off" ? null : this.config.slidingWindow', "null"],
  ]),
  ...inFile("layers/embedding.ts", "tiny-pg1/prompt", "hooks", [
    ["text rows not scaled", "Math.sqrt(this.hiddenSize)", "1"],
    ["text rows scaled by the top-level hidden size", "Math.sqrt(this.hiddenSize)", "Math.sqrt(2048)"],
  ]),
  ...inFile("layers/unembedding.ts", "tiny-pg1/prompt", "hooks", [
    [
      "an output table of its own",
      "this.head.multiply(listOf(inputs)[0]!)",
      "tf.randomNormal([...listOf(inputs)[0].shape.slice(0, -1), this.rows])",
    ],
    [
      "64 rows of the vocabulary left out",
      "this.head.multiply(listOf(inputs)[0]!)",
      "this.head.multiply(listOf(inputs)[0]!).slice([0, 0, 0], [-1, -1, 236])",
    ],
  ]),
  ...inFile("src/model/gemma.ts", "tiny-pg2-head/prompt", "hooks", [
    [
      "the embedding in place of an output head of its own",
      "config.tieWordEmbeddings\n      ?",
      "config.vocabSize > 0\n      ?",
    ],
  ]),
  ...inFile("src/model/model.ts", "tiny-pg1/prompt", "hooks", [
    [
      "image rows scaled like text",
      "interleave(images,",
      "interleave(images.mul(Math.sqrt(this.config.text.hiddenSize)),",
    ],
    [
      "image rows divided by the text scale",
      "interleave(images,",
      "interleave(images.div(Math.sqrt(this.config.text.hiddenSize)),",
    ],
    ["image rows in reverse order", "interleave(images,", "interleave(images.reverse(1),"],
  ]),
  ...inFile("src/model/inputs.ts", "tiny-pg2/prompt", "greedy", [
    ["positions that count from 0 again while generating", "let count = seen[b] ?? 0;", "let count = 0;"],
  ]),
  ...inFile("layers/attend.ts", "tiny-pg2/prompt", "hooks", [
    [
      "query heads on key heads by remainder",
      "batchMatMul(headsFirst(q).reshape([B, K, rows, H])",
      "batchMatMul(tf.gather(headsFirst(q), Array.from({ length: N }, (_, n) => (n % (N / K)) * K + Math.floor(n / (N / K))), 1).reshape([B, K, rows, H])",
    ],
    ["no cap on the scores", "softcap(dot.mul(scaling.scale), scaling.softcap)", "dot.mul(scaling.scale)"],
    [
      "the cap before the scale",
      "softcap(dot.mul(scaling.scale), scaling.softcap)",
      "softcap(dot, scaling.softcap).mul(scaling.scale)",
    ],
    ["the query scale applied twice", "dot.mul(scaling.scale)", "dot.mul(scaling.scale).mul(scaling.scale)"],
  ]),
  ...inFile("layers/attend.ts", "tiny-pg2/suffix", "hooks", [
    [
      "the cap after the mask",
      "mask ? capped.add(mask) : capped",
      "softcap(mask ? capped.add(mask) : capped, scaling.softcap)",
    ],
  ]),
  ...inFile("layers/gemma-attention.ts", "tiny-pg2/prompt", "hooks", [
    ["scores scaled by the head size", "queryPreAttnScalar ** -0.5", "headDim ** -0.5"],
    ["values rotated like keys", "[rotatedK, v]; //", "[rotatedK, applyRope(v, cos, sin)]; //"],
    ["keys not rotated", 'tap("hook_rot_k", applyRope(k, cos, sin))', 'tap("hook_rot_k", k)'],
  ]),
  ...inFile("layers/gemma-attention.ts", "tiny-pg2/prompt", "greedy", [
    ["keys cached before rotation", "cache.append(rotatedK, v)", "cache.append(cache.length ? k : rotatedK, v)"],
  ]),
  ...inFile("layers/rope.ts", "tiny-pg1/prompt", "hooks", [
    [
      "rotation of neighbouring pairs",
      "const [low, high] = tf.split(x, 2, -1) as [tf.Tensor, tf.Tensor];",
      "const [low, high] = [x.stridedSlice([0, 0, 0, 0], x.shape, [1, 1, 1, 2]), x.stridedSlice([0, 0, 0, 1], x.shape, [1, 1, 1, 2])];",
    ],
    ["a rotary base ten times too large", "fround(theta **", "fround((theta * 10) **"],
    ["rotation the other way", "high.neg(), low", "high, low.neg()"],
  ]),
  ...inFile("layers/kv-cache.ts", "tiny-pg1/prompt", "greedy", [
    [
      "a cache that loses its first position",
      "tf.concat([upTo(old, this.count), added], 1)",
      "tf.concat([upTo(old, this.count).slice([0, 1], [-1, -1]), added.slice([0, 0], [-1, -1]), added], 1)",
    ],
  ]),
  ...inFile("layers/kv-cache.ts", "tiny-pg2/prompt", "greedy", [
    [
      "a cache in reverse order",
      "tf.concat([upTo(old, this.count), added], 1)",
      "tf.concat([added, upTo(old, this.count)], 1)",
    ],
  ]),
  ...inFile("src/decoding/rows.ts", "tiny-pg2/prompt", "greedy", [
    ["generated tokens inside the block", "tokens.map(() => [1])", "tokens.map(() => [0])"],
  ]),
  ...inFile("layers/gated-mlp.ts", "tiny-pg1/prompt", "hooks", [
    ["gate and up exchanged", "geluTanh(pre).mul(preLinear)", "geluTanh(preLinear).mul(pre)"],
    ["the exact GELU in the decoder", "geluTanh(pre)", "pre.mul(0.5).mul(pre.div(Math.SQRT2).erf().add(1))"],
    ["no activation in the decoder", "geluTanh(pre).mul(preLinear)", "pre.mul(preLinear)"],
  ]),
  ...inFile("layers/mlp.ts", "tiny-pg1/prompt", "hooks", [
    ["the exact GELU in the vision tower", "geluTanh(pre)", "pre.mul(0.5).mul(pre.div(Math.SQRT2).erf().add(1))"],
  ]),
  ...inFile("layers/gemma-block.ts", "tiny-pg2/prompt", "hooks", [
    ["the attention's post-norm skipped", 'this.ln1Post ? run(this.ln1Post, "ln1_post", attn) : attn', "attn"],
    ["the MLP's post-norm skipped", 'this.ln2Post ? run(this.ln2Post, "ln2_post", mlp) : mlp', "mlp"],
    [
      "Gemma 1's meaning of a norm's name in Gemma 2",
      'norm(postNorms ? "pre_feedforward_layernorm" : "post_attention_layernorm")',
      'norm("post_attention_layernorm")',
    ],
    ["the MLP fed before its norm", 'run(this.ln2, "ln2", mid)', 'tf.tidy(() => (run(this.ln2, "ln2", mid), mid))'],
    ["the MLP added to the block's input", "add(mid, mlpOut)", "add(pre, mlpOut)"],
  ]),
  ...inFile("layers/patch-embedding.ts", "tiny-pg1/prompt", "hooks", [
    ["no vision positions", "add(embed, positions)", "embed"],
    [
      "patches column by column",
      "const flat = patches.reshape(",
      "const flat = patches.reshape([B, rows, columns, C * p * p]).transpose([0, 2, 1, 3]).reshape(",
    ],
    ["colours innermost in a patch", ".reshape([B * rows * columns, p * p, C]).transpose([0, 2, 1])", ""],
    [
      "a patch read column by column",
      "transpose([0, 2, 1, 3]); //",
      "transpose([0, 2, 1, 3]).reshape([-1, p, p, C]).transpose([0, 2, 1, 3]); //",
    ],
  ]),
  ...inFile("src/model/siglip.ts", "tiny-pg1/prompt", "hooks", [
    ["no final norm of the vision tower", 'run(this.lnFinal, x, tapAt(tap, "ln_final"))', "x"],
  ]),
  ...inFile("layers/siglip-attention.ts", "tiny-pg1/prompt", "hooks", [
    ["vision scores scaled by the width", "scale: headDim ** -0.5", "scale: x.shape.at(-1)! ** -0.5"],
  ]),
  ...inFile("layers/matrix.ts", "tiny-pg1/prompt", "hooks", [
    [
      "a square matrix used transposed",
      "weight : weight.reshape(shape), true)",
      "weight : weight.reshape(shape), shape[0] !== shape[1])",
    ],
  ]),
  ...inFile("layers/linear.ts", "tiny-pg1/prompt", "hooks", [
    ["biases left out", "bias: bias?.read()", "bias: undefined"],
  ]),
  ...inFile("layers/softcap.ts", "tiny-pg2/prompt", "hooks", [
    ["a cap that clips", "x.div(cap).tanh().mul(cap)", "x.clipByValue(-cap, cap)"],
  ]),
];
