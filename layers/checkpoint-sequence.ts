import * as tf from "@tensorflow/tfjs";

import { CheckpointLayer, listOf, shapesOf } from "./checkpoint-layer.js";
import { noTap, type Tap } from "./tap.js";

type Step = { path: string; layer: CheckpointLayer; relu: boolean };

/**
 * Layers one after another, named by their places as in PyTorch's `Sequential`, where a ReLU takes a place as well.
 * Taps: each place that has a layer, behind the ReLU that follows it. The caller owns the result.
 */
export abstract class CheckpointSequence extends CheckpointLayer {
  private readonly steps: Step[] = [];

  /** Appends the layer that stands at `place`, and after it a ReLU if there is one. */
  protected add<L extends CheckpointLayer>(
    place: number,
    make: (part: ReturnType<CheckpointLayer["part"]>) => L,
    { relu }: { relu: boolean },
  ): void {
    const path = String(place);
    this.steps.push({ path, layer: this.own(make(this.part(path))), relu });
  }
  override build(inputShape: tf.Shape | tf.Shape[]): void {
    this.steps.reduce((shape, { layer }) => {
      this.buildChild(layer, shape);
      return shapesOf(layer.computeOutputShape(shape))[0]!;
    }, shapesOf(inputShape)[0]!);
    this.built = true;
  }
  override call(inputs: tf.Tensor | tf.Tensor[], { tap = noTap }: { tap?: Tap } = {}): tf.Tensor {
    return tf.tidy(() =>
      this.steps.reduce((x, { path, layer, relu }) => {
        const y = layer.apply(x) as tf.Tensor;
        return tap(path, relu ? tf.relu(y) : y);
      }, listOf(inputs)[0]!),
    );
  }
  override computeOutputShape(inputShape: tf.Shape | tf.Shape[]): tf.Shape {
    const through = (shape: tf.Shape, { layer }: Step) => shapesOf(layer.computeOutputShape(shape))[0]!;
    return this.steps.reduce(through, shapesOf(inputShape)[0]!);
  }
}
