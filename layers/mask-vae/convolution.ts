import * as tf from "@tensorflow/tfjs";

import { CheckpointLayer, type CheckpointLayerArgs, listOf, shapesOf } from "../checkpoint-layer.js";
import type { Weight } from "../weight.js";

/** `filters` = channels out; a kernel of `kernelSize` x `kernelSize`, moved by `stride`. */
export type ConvolutionArgs = CheckpointLayerArgs & {
  filters: number;
  kernelSize: number;
  stride?: number | undefined;
};

/** What both kinds share: a kernel as PyTorch stores it, its own two axes last, and a bias. */
abstract class AnyConvolution extends CheckpointLayer {
  protected readonly filters: number;
  protected readonly kernelSize: number;
  protected readonly stride: number;
  private weight!: Weight;
  private bias!: Weight;

  constructor(args: ConvolutionArgs) {
    const { filters, kernelSize, stride = 1, ...rest } = args;
    super(rest);
    this.filters = filters;
    this.kernelSize = kernelSize;
    this.stride = stride;
  }
  /** The first two axes of the stored kernel. */
  protected abstract channelAxes(channels: number): [number, number];
  /** The sums before the bias; `kernel` is the stored one with its axes in reverse, but for the two of its plane. */
  protected abstract sums(x: tf.Tensor4D, kernel: tf.Tensor4D): tf.Tensor;

  override build(inputShape: tf.Shape | tf.Shape[]): void {
    const channels = shapesOf(inputShape)[0]!.at(-1)!;
    this.weight = this.addTensor("weight", [...this.channelAxes(channels), this.kernelSize, this.kernelSize]);
    this.bias = this.addTensor("bias", [this.filters]);
    this.built = true;
  }
  override call(inputs: tf.Tensor | tf.Tensor[]): tf.Tensor {
    const x = listOf(inputs)[0] as tf.Tensor4D;
    return tf.tidy(() => {
      const kernel = this.weight.read().transpose([2, 3, 1, 0]) as tf.Tensor4D;
      return this.sums(x, kernel).add(this.bias.read());
    });
  }
  override getConfig(): tf.serialization.ConfigDict {
    const { filters, kernelSize, stride } = this;
    return { ...super.getConfig(), filters, kernelSize, stride };
  }
}

/**
 * A convolution with bias; every edge gets (kernelSize - stride) / 2 zeros. [B, height, width, C], sides that the
 * stride divides -> [B, height/stride, width/stride, filters]. Checkpoint tensors: `weight` [filters, C, k, k], `bias`
 * [filters].
 */
export class Convolution extends AnyConvolution {
  static readonly className = "Convolution";
  protected channelAxes(channels: number): [number, number] {
    return [this.filters, channels];
  }
  protected sums(x: tf.Tensor4D, kernel: tf.Tensor4D): tf.Tensor {
    return tf.conv2d(x, kernel, this.stride, "same"); // kernel [k, k, in, out]
  }
  override computeOutputShape(inputShape: tf.Shape | tf.Shape[]): tf.Shape {
    const [B, height, width] = shapesOf(inputShape)[0] as [number, number, number];
    return [B, height / this.stride, width / this.stride, this.filters];
  }
}
tf.serialization.registerClass(Convolution);

/**
 * A transposed convolution with bias: each input is spread over a kernel, `stride` apart, and (kernelSize - stride) / 2
 * are cut off every edge. [B, height, width, C] -> [B, height·stride, width·stride, filters]. Checkpoint tensors, the
 * input's channels first: `weight` [C, filters, k, k], `bias` [filters].
 */
export class TransposedConvolution extends AnyConvolution {
  static readonly className = "TransposedConvolution";
  protected channelAxes(channels: number): [number, number] {
    return [channels, this.filters];
  }
  protected sums(x: tf.Tensor4D, kernel: tf.Tensor4D): tf.Tensor {
    const shape = this.computeOutputShape(x.shape) as [number, number, number, number];
    return tf.conv2dTranspose(x, kernel, shape, this.stride, "same"); // kernel [k, k, out, in]
  }
  override computeOutputShape(inputShape: tf.Shape | tf.Shape[]): tf.Shape {
    const [B, height, width] = shapesOf(inputShape)[0] as [number, number, number];
    return [B, height * this.stride, width * this.stride, this.filters];
  }
}
tf.serialization.registerClass(TransposedConvolution);
