import { strict as assert } from "node:assert";
import { readFileSync } from "node:fs";
import path from "node:path";

import * as tf from "@tensorflow/tfjs";

import { MASKED } from "../../layers/axes.js";
import type { WeightScope } from "../../layers/checkpoint-layer.js";
import {
  applyRope,
  attend,
  GatedMLP,
  geluTanh,
  GemmaAttention,
  layerNorm,
  MLP,
  PatchEmbedding,
  rmsNorm,
  RotaryEmbedding,
  rotaryFrequencies,
  ropeTables,
  SiglipAttention,
  softcap,
} from "../../layers/index.js";
import type { Tap } from "../../layers/tap.js";
import { compare } from "../parity/compare.js";
import { fixtures, readTensors, type ReferenceTensor } from "../parity/reference.js";
import { onEachBackend } from "../support/backends.js";

type Options = Record<string, number | null>;
type Case = { options: Options; inputs: Record<string, number[]>; outputs: Record<string, number[]> };
type Seen = { shape: number[]; values: ArrayLike<number> };
type Run = (input: (name: string) => tf.Tensor, options: Options, tap: Tap) => tf.Tensor | Record<string, tf.Tensor>;

const cases = JSON.parse(readFileSync(path.join(fixtures, "layers.json"), "utf8")).cases as Record<string, Case>;

/**
 * One operation against float64 loops: the error relative to the largest number. Rotation is compared with torch, whose
 * float32 power is one unit off for one frequency of H = 72: 8e-6 near position 8000, where exact tables are off by
 * 3e-4.
 */
const limitFor = (name: string): number => (name.startsWith("rope") ? 2e-5 : 1e-6);

/** A checkpoint whose tensors are a case's inputs: `q_proj.weight` is `q_proj`, `q_proj.bias` is `q_proj_bias`. */
function scopeOf(input: (name: string) => tf.Tensor, prefix = ""): WeightScope {
  const spelled = (name: string) =>
    name
      .replace("patch_embedding.weight", "weight")
      .replace("patch_embedding.bias", "bias")
      .replace(/\.weight$/, "")
      .replace(/\.bias$/, "_bias");
  const get = (name: string, shape: number[]): tf.Tensor => {
    const tensor = input(spelled(prefix + name));
    assert.deepEqual(tensor.shape, shape, name);
    return tensor.clone();
  };
  return { at: (path) => scopeOf(input, `${prefix}${path}.`), get, matrix: get };
}

const additive = (open: tf.Tensor) => tf.scalar(1).sub(open).mul(MASKED).expandDims(1);

function gemmaAttention(input: (name: string) => tf.Tensor, options: Options, tap: Tap): tf.Tensor {
  const x = input("x");
  const config = {
    hiddenSize: x.shape[2]!,
    numAttentionHeads: options.num_attention_heads!,
    numKeyValueHeads: options.num_key_value_heads!,
    headDim: options.head_dim!,
    queryPreAttnScalar: options.query_pre_attn_scalar!,
    attnLogitSoftcapping: options.attn_logit_softcapping,
  };
  const positions = input("positions").arraySync() as number[][];
  const { cos, sin } = ropeTables(positions, config.headDim, options.rope_theta!);
  const layer = new GemmaAttention({ config, scope: scopeOf(input) });
  const result = layer.apply([x, additive(input("mask")), cos, sin], { tap }) as tf.Tensor;
  layer.dispose();
  return result;
}

function attention(input: (name: string) => tf.Tensor, options: Options, tap: Tap): tf.Tensor {
  const scaling = { scale: options.scale!, softcap: options.attn_logit_softcapping };
  return attend(input("q"), input("k"), input("v"), additive(input("mask")), scaling, tap);
}

function rope(input: (name: string) => tf.Tensor, options: Options): Record<string, tf.Tensor> {
  const positions = input("positions");
  const tables = ropeTables(positions.arraySync() as number[][], options.head_dim!, options.rope_theta!);
  const layer = new RotaryEmbedding({ headDim: options.head_dim!, ropeTheta: options.rope_theta! });
  const asLayer = layer.apply([input("q"), positions]) as tf.Tensor;
  const asFunction = applyRope(input("q"), tables.cos, tables.sin);
  assert.deepEqual(asLayer.dataSync(), asFunction.dataSync());
  const inv_freq = tf.tensor1d(rotaryFrequencies(options.head_dim!, options.rope_theta!));
  return { ...tables, inv_freq, rot_q: asFunction, rot_k: applyRope(input("k"), tables.cos, tables.sin) };
}

const runs: [pattern: RegExp, run: Run][] = [
  [/^rms_norm/, (input, { eps }, tap) => rmsNorm(input("x"), input("weight"), eps!, tap)],
  [/^layer_norm/, (input, { eps }, tap) => layerNorm(input("x"), input("weight"), input("bias"), eps!, tap)],
  [/^gelu_tanh/, (input) => geluTanh(input("x"))],
  [/^softcap/, (input, { cap }) => softcap(input("x"), cap)],
  [/^gemma_attention/, gemmaAttention],
  [/^attend/, attention],
  [/^rope/, rope],
  [
    /^gated_mlp/,
    (input, _options, tap) => {
      const [F, D] = input("gate_proj").shape;
      const layer = new GatedMLP({ hiddenSize: D, intermediateSize: F, scope: scopeOf(input) });
      return layer.apply(input("x"), { tap }) as tf.Tensor;
    },
  ],
  [
    /^siglip_mlp/,
    (input, _options, tap) => {
      const [F, D] = input("fc1").shape;
      return new MLP({ hiddenSize: D, intermediateSize: F, scope: scopeOf(input) }).apply(input("x"), {
        tap,
      }) as tf.Tensor;
    },
  ],
  [
    /^siglip_attention/,
    (input, options, tap) => {
      const config = { hiddenSize: input("x").shape[2]!, numAttentionHeads: options.num_attention_heads! };
      return new SiglipAttention({ config, scope: scopeOf(input) }).apply(input("x"), { tap }) as tf.Tensor;
    },
  ],
  [
    /^patch_embedding/,
    (input, options, tap) => {
      const sizes = { hiddenSize: input("bias").shape[0], patchSize: options.patch_size! };
      return new PatchEmbedding({ ...sizes, scope: scopeOf(input) }).apply(input("pixels"), { tap }) as tf.Tensor;
    },
  ],
];

onEachBackend("one layer against float64", () => {
  let tensors: Map<string, ReferenceTensor>;
  before(async () => {
    tensors = await readTensors(path.join(fixtures, "layers.safetensors"));
  });

  for (const [name, { options, outputs }] of Object.entries(cases)) {
    it(`${name} is close to its oracle at every step`, () => {
      const run = runs.find(([pattern]) => pattern.test(name));
      assert.ok(run, `no layer is compared with ${name}`);
      tf.engine().startScope();
      const input = (role: string) => {
        const { shape, values } = tensors.get(`${name}.${role}`)!;
        return tf.tensor(Float32Array.from(values), [...shape]);
      };
      const seen = new Map<string, Seen>();
      const see = (role: string, value: tf.Tensor) => seen.set(role, { shape: value.shape, values: value.dataSync() });
      const tap: Tap = (hook, value) => {
        see(hook.replace(/^hook_(attn_)?/, ""), value);
        return value;
      };
      const result = run[1](input, options, tap);
      if (result instanceof tf.Tensor) see("out", result);
      else for (const [role, value] of Object.entries(result)) see(role, value);
      for (const role of Object.keys(outputs)) compareRole(name, role, seen.get(role), tensors);
      tf.engine().endScope();
    });
  }
});

function compareRole(
  name: string,
  role: string,
  ours: Seen | undefined,
  tensors: ReadonlyMap<string, ReferenceTensor>,
): void {
  assert.ok(ours, `${name}: nothing is compared with ${role}`);
  const { shape, values } = tensors.get(`${name}.${role}`)!;
  assert.deepEqual(ours.shape, [...shape], role);
  const { maxAbs, peak } = compare(ours.values, values);
  assert.ok(maxAbs <= limitFor(name) * Math.max(peak, 1), `${role}: off by ${maxAbs} at a peak of ${peak}`);
}
