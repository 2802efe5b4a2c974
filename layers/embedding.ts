import * as tf from "@tensorflow/tfjs";

import { CheckpointLayer, type CheckpointLayerArgs, listOf, shapesOf } from "./checkpoint-layer.js";
import { Matrix } from "./matrix.js";
import { softcap } from "./softcap.js";
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
  /** The table as it is read the other way: an adapter may change the one and not the other. */
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
    const ids = listOf(inputs)[0];
    return tf.tidy(() => {
      const whole = ids.dtype === "int32" ? ids : ids.toInt(); // a cast is an operation also where it changes nothing
      return tap("hook_embed", this.weight.rows(whole, Math.sqrt(this.hiddenSize)));
    });
  }
  /** h · Eᵀ, the same table read the other way; `h` [..., D] -> [..., V]. The caller owns the result. */
  unembed(h: tf.Tensor): tf.Tensor {
    return this.head.multiply(h);
  }
  /** Rows of the table that `unembed` multiplies by, not scaled: ids [n] -> [n, D]. The caller owns the result. */
  table(ids: readonly number[]): tf.Tensor {
    return tf.tidy(() => this.head.rows(tf.tensor2d([ids as number[]], undefined, "int32")).squeeze([0]));
  }
  /** The number of tokens, V. */
  get rows(): number {
    return this.vocabSize;
  }
  override computeOutputShape(inputShape: tf.Shape | tf.Shape[]): tf.Shape {
    return [...shapesOf(inputShape)[0], this.hiddenSize];
  }
  override getConfig(): tf.serialization.ConfigDict {
    return { ...super.getConfig(), vocabSize: this.vocabSize, hiddenSize: this.hiddenSize };
  }
}
tf.serialization.registerClass(TokenEmbedding);

/** The table to share, and the cap of the logits (null: none). */
export type TiedUnembeddingArgs = CheckpointLayerArgs & {
  embedding: TokenEmbedding;
  finalLogitSoftcapping: number | null;
};

/**
 * Hidden states to logits with the table of a `TokenEmbedding`, capped where a cap is set. Input [..., D] -> [..., V].
 * The weights stay the embedding's, which lists and frees them. Tap: hook_out.
 */
export class TiedUnembedding extends CheckpointLayer {
  static readonly className = "TiedUnembedding";
  private readonly embedding: TokenEmbedding;
  private readonly finalLogitSoftcapping: number | null;

  constructor(args: TiedUnembeddingArgs) {
    const { embedding, finalLogitSoftcapping, ...rest } = args;
    super(rest);
    this.embedding = embedding;
    this.finalLogitSoftcapping = finalLogitSoftcapping;
  }
  override build(): void {
    if (!this.embedding.built) this.buildChild(this.embedding, [null, null]);
    this.built = true;
  }
  override call(inputs: tf.Tensor | tf.Tensor[], { tap = noTap }: { tap?: Tap } = {}): tf.Tensor {
    return tf.tidy(() => {
      const logits = this.embedding.unembed(listOf(inputs)[0]);
      return tap("hook_out", softcap(logits, this.finalLogitSoftcapping));
    });
  }
  override computeOutputShape(inputShape: tf.Shape | tf.Shape[]): tf.Shape {
    return [...shapesOf(inputShape)[0].slice(0, -1), this.embedding.rows];
  }
  override getConfig(): tf.serialization.ConfigDict {
    const embedding = { className: TokenEmbedding.className, config: this.embedding.getConfig() };
    return { ...super.getConfig(), embedding, finalLogitSoftcapping: this.finalLogitSoftcapping };
  }
  // In a saved topology the shared table stands by its configuration. What is read back owns a table of its own.
  static override fromConfig<T extends tf.serialization.Serializable>(
    cls: tf.serialization.SerializableConstructor<T>,
    config: tf.serialization.ConfigDict,
  ): T {
    const { embedding, ...rest } = config as unknown as { embedding: { config: TokenEmbeddingArgs } };
    const table = new TokenEmbedding(embedding.config);
    const layer = new cls({ ...rest, embedding: table } as never);
    (layer as unknown as TiedUnembedding).own(table);
    return layer;
  }
}
tf.serialization.registerClass(TiedUnembedding);
