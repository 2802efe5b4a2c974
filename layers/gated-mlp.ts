import * as tf from "@tensorflow/tfjs";

import { CheckpointLayer, type CheckpointLayerArgs, listOf, shapesOf } from "./checkpoint-layer.js";
import { geluTanh } from "./gelu.js";
import { heldDtype } from "./held.js";
import { Linear } from "./linear.js";
import { runKernel } from "./kernel.js";
import { listens, noTap, type Tap } from "./tap.js";

/**
 * Gemma's MLP: down( gelu_tanh(gate(x)) · up(x) ). Input [..., D] -> [..., D].
 * `coarseProducts` (default no): activations may be rounded to bfloat16 where 16-bit weights are multiplied faster so; this is
 * four fifths of a decoder's work, and rounding there changes logits least.
 * Checkpoint tensors: `{gate,up}_proj.weight` [F, D], `down_proj.weight` [D, F]. Taps: hook_pre, hook_pre_linear, hook_post.
 */
export class GatedMLP extends CheckpointLayer {
  static readonly className = "GatedMLP";
  private readonly hiddenSize: number;
  private readonly intermediateSize: number;
  private readonly coarseProducts: boolean;
  private readonly gateProj: Linear;
  private readonly upProj: Linear;
  private readonly downProj: Linear;

  constructor(args: CheckpointLayerArgs & { hiddenSize: number; intermediateSize: number; coarseProducts?: boolean }) {
    const { hiddenSize, intermediateSize, coarseProducts = false, ...rest } = args;
    super(rest);
    this.hiddenSize = hiddenSize;
    this.intermediateSize = intermediateSize;
    this.coarseProducts = coarseProducts;
    const linear = (name: string, units: number) => this.own(new Linear({ ...this.part(name), units, useBias: false }));
    this.gateProj = linear("gate_proj", intermediateSize);
    this.upProj = linear("up_proj", intermediateSize);
    this.downProj = linear("down_proj", hiddenSize);
  }
  override build(inputShape: tf.Shape | tf.Shape[]): void {
    const shape = shapesOf(inputShape)[0];
    this.buildChild(this.gateProj, shape);
    this.buildChild(this.upProj, shape);
    this.buildChild(this.downProj, [...shape.slice(0, -1), this.intermediateSize]);
    this.built = true;
  }
  override call(inputs: tf.Tensor | tf.Tensor[], { tap = noTap }: { tap?: Tap } = {}): tf.Tensor {
    const x = listOf(inputs)[0];
    const [gate, up, down] = [this.gateProj, this.upProj, this.downProj].map(({ weight }) => weight.read());
    const coarse = this.coarseProducts;
    const whole = heldDtype(gate) === heldDtype(up) && !listens(tap, "hook_pre", "hook_pre_linear", "hook_post");
    const fused = !whole ? null : runKernel("PaligemmaGatedMlp", { x, gate, up, down }, { coarse: coarse ? 1 : 0 });
    if (fused) return fused;
    const product = (linear: Linear, input: tf.Tensor) => linear.apply(input, { coarse }) as tf.Tensor;
    return tf.tidy(() => {
      const pre = tap("hook_pre", product(this.gateProj, x));
      const preLinear = tap("hook_pre_linear", product(this.upProj, x));
      const post = tap("hook_post", geluTanh(pre).mul(preLinear));
      return product(this.downProj, post);
    });
  }
  override getConfig(): tf.serialization.ConfigDict {
    return {
      ...super.getConfig(),
      hiddenSize: this.hiddenSize,
      intermediateSize: this.intermediateSize,
      coarseProducts: this.coarseProducts,
    };
  }
}
tf.serialization.registerClass(GatedMLP);
