import * as tf from "@tensorflow/tfjs";

import { CheckpointLayer, type CheckpointLayerArgs, listOf, shapesOf } from "./checkpoint-layer.js";
import { geluTanh } from "./gelu.js";
import { heldDtype, type HeldDtype } from "./stored.js";
import { Linear } from "./linear.js";
import { hasKernel, runKernel } from "./kernel.js";
import type { Matrix } from "./matrix.js";
import { listens, noTap, type Tap } from "./tap.js";

/**
 * So many rows, and more, a kernel computes each for itself; the order in which it adds in fewer depends on how many
 * they are.
 */
const INDEPENDENT = 9;

/**
 * Gemma's MLP: down( gelu_tanh(gate(x)) · up(x) ). Input [..., D] -> [..., D]. `coarseProducts` as in `Linear`.
 * Checkpoint tensors: `{gate,up}_proj.weight` [F, D], `down_proj.weight` [D, F]. Taps: hook_pre, hook_pre_linear,
 * hook_post.
 */
export class GatedMLP extends CheckpointLayer {
  static readonly className = "GatedMLP";
  private readonly hiddenSize: number;
  private readonly intermediateSize: number;
  private readonly coarseProducts: boolean;
  private readonly gateProj: Linear;
  private readonly upProj: Linear;
  private readonly downProj: Linear;

  constructor(
    args: CheckpointLayerArgs & { hiddenSize: number; intermediateSize: number; coarseProducts?: boolean | undefined },
  ) {
    const { hiddenSize, intermediateSize, coarseProducts = false, ...rest } = args;
    super(rest);
    this.hiddenSize = hiddenSize;
    this.intermediateSize = intermediateSize;
    this.coarseProducts = coarseProducts;
    const linear = (name: string, units: number) =>
      this.own(new Linear({ ...this.part(name), units, useBias: false, coarseProducts }));
    this.gateProj = linear("gate_proj", intermediateSize);
    this.upProj = linear("up_proj", intermediateSize);
    this.downProj = linear("down_proj", hiddenSize);
  }
  override build(inputShape: tf.Shape | tf.Shape[]): void {
    const shape = shapesOf(inputShape)[0]!;
    this.buildChild(this.gateProj, shape);
    this.buildChild(this.upProj, shape);
    this.buildChild(this.downProj, [...shape.slice(0, -1), this.intermediateSize]);
    this.built = true;
  }
  /** `among`: of how many rows those of the input are some (default: all); see `canComputeSome`. */
  override call(
    inputs: tf.Tensor | tf.Tensor[],
    { tap = noTap, among = 0 }: { tap?: Tap; among?: number } = {},
  ): tf.Tensor {
    const x = listOf(inputs)[0]!;
    const whole = this.isPlain && !listens(tap, "hook_pre", "hook_pre_linear", "hook_post");
    if (whole) {
      const [gate, up, down] = this.operands().map((weight) => weight.read()) as [tf.Tensor, tf.Tensor, tf.Tensor];
      const coarse = this.coarseProducts ? 1 : 0;
      const fused = runKernel("PaligemmaGatedMlp", { x, gate, up, down }, { coarse, among });
      if (fused) return fused;
    }
    return tf.tidy(() => {
      const pre = tap("hook_pre", this.gateProj.apply(x) as tf.Tensor);
      const preLinear = tap("hook_pre_linear", this.upProj.apply(x) as tf.Tensor);
      const post = tap("hook_post", geluTanh(pre).mul(preLinear));
      return this.downProj.apply(post) as tf.Tensor;
    });
  }
  /**
   * Whether some of `among` rows can be computed without the others and have the same bits, where nobody listens to the
   * steps.
   */
  canComputeSome(among: number): boolean {
    return among >= INDEPENDENT && this.isPlain && hasKernel("PaligemmaGatedMlp");
  }
  private get isPlain(): boolean {
    const operands = this.operands();
    const [gate, up] = operands as [Matrix, Matrix, Matrix];
    return heldDtype(gate.read()) === heldDtype(up.read()) && !operands.some(({ adapted }) => adapted);
  }
  /** The type that its matrices are held in. */
  get heldAs(): HeldDtype {
    return heldDtype(this.gateProj.weight.read()) ?? "float32";
  }
  private operands() {
    return [this.gateProj, this.upProj, this.downProj].map(({ weight }) => weight);
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
