import * as tf from "@tensorflow/tfjs";

import { CheckpointLayer, type CheckpointLayerArgs, listOf, shapesOf } from "./checkpoint-layer.js";
import { Matrix } from "./matrix.js";
import { noTap, type Tap } from "./tap.js";

/** Rows and width of the token table. */
export type TokenEmbeddingArgs = CheckpointLayerArgs & { vocabSize: number; hiddenSize: number };

/**
 * Token ids to rows of the table times sqrt(D): the only place where text is scaled; image rows never pass here.
 * Input ids [B, T] (integers below V) -> [B, T, D]. Checkpoint tensor: `weight` [V, D]. Tap: hook_embed.
 */
export class TokenEmbedding extends CheckpointLayer {
  static readonly className = "TokenEmbedding";
  private readonly vocabSize: number;
  private readonly hiddenSize: number;
  private weight!: Matrix;
  /** The table as a tied output head multiplies by it: an adapter may change the one and not the other. */
  readonly head = this.releaseWithLayer(new Matrix({ read: () => this.weight.stored() }));

  constructor(args: TokenEmbeddingArgs) {
    const { vocabSize, hiddenSize, ...rest } = args;
    super(rest);
    this.vocabSize = vocabSize;
    this.hiddenSize = hiddenSize;
  }
  override build(): void {
    this.weight = this.addMatrix("weight", [this.vocabSize, this.hiddenSize]);
    this.built = true;
  }
  override call(inputs: tf.Tensor | tf.Tensor[], { tap = noTap }: { tap?: Tap } = {}): tf.Tensor {
    const ids = listOf(inputs)[0]!;
    return tf.tidy(() => {
      const whole = ids.dtype === "int32" ? ids : ids.toInt(); // a cast is an operation also where it changes nothing
      return tap("hook_embed", this.weight.rows(whole, Math.sqrt(this.hiddenSize)));
    });
  }
  /** The number of tokens, V. */
  get rows(): number {
    return this.vocabSize;
  }
  override computeOutputShape(inputShape: tf.Shape | tf.Shape[]): tf.Shape {
    return [...shapesOf(inputShape)[0]!, this.hiddenSize];
  }
  override getConfig(): tf.serialization.ConfigDict {
    return { ...super.getConfig(), vocabSize: this.vocabSize, hiddenSize: this.hiddenSize };
  }
}
tf.serialization.registerClass(TokenEmbedding);
