import * as tf from "@tensorflow/tfjs";

import { CheckpointLayer, type CheckpointLayerArgs, listOf, shapesOf } from "./checkpoint-layer.js";
import { TokenEmbedding, type TokenEmbeddingArgs } from "./embedding.js";
import type { Matrix } from "./matrix.js";
import { softcap } from "./softcap.js";
import { noTap, type Tap } from "./tap.js";

/** The cap of the logits (null: none). */
type Capped = { finalLogitSoftcapping: number | null };

/** Hidden states to logits: softcap(h · Wᵀ). Input [..., D] -> [..., V]. Tap: hook_out. */
export abstract class OutputHead extends CheckpointLayer {
  protected readonly finalLogitSoftcapping: number | null;

  constructor({ finalLogitSoftcapping, ...rest }: CheckpointLayerArgs & Capped) {
    super(rest);
    this.finalLogitSoftcapping = finalLogitSoftcapping;
  }
  /** W [V, D], once the layer is built. */
  abstract get head(): Matrix;
  /** The number of tokens, V. */
  protected abstract get rows(): number;

  /** Rows of W, not scaled: ids [n] -> [n, D]. The caller owns the result. */
  table(ids: readonly number[]): tf.Tensor {
    return tf.tidy(() => this.head.rows(tf.tensor2d([ids as number[]], undefined, "int32")).squeeze([0]));
  }
  override call(inputs: tf.Tensor | tf.Tensor[], { tap = noTap }: { tap?: Tap } = {}): tf.Tensor {
    return tf.tidy(() => {
      const logits = this.head.multiply(listOf(inputs)[0]!);
      return tap("hook_out", softcap(logits, this.finalLogitSoftcapping));
    });
  }
  override computeOutputShape(inputShape: tf.Shape | tf.Shape[]): tf.Shape {
    return [...shapesOf(inputShape)[0]!.slice(0, -1), this.rows];
  }
  override getConfig(): tf.serialization.ConfigDict {
    return { ...super.getConfig(), finalLogitSoftcapping: this.finalLogitSoftcapping };
  }
}

/** Rows and width of a head, and the cap of its logits. */
export type UnembeddingArgs = TokenEmbeddingArgs & Capped;

/** An output head with a matrix of its own. Checkpoint tensor: `weight` [V, D]. */
export class Unembedding extends OutputHead {
  static readonly className = "Unembedding";
  private readonly vocabSize: number;
  private readonly hiddenSize: number;
  private weight!: Matrix;

  constructor({ vocabSize, hiddenSize, ...rest }: UnembeddingArgs) {
    super(rest);
    this.vocabSize = vocabSize;
    this.hiddenSize = hiddenSize;
  }
  override get head(): Matrix {
    return this.weight;
  }
  protected override get rows(): number {
    return this.vocabSize;
  }
  override build(): void {
    this.weight = this.addMatrix("weight", [this.vocabSize, this.hiddenSize]);
    this.built = true;
  }
  override getConfig(): tf.serialization.ConfigDict {
    return { ...super.getConfig(), vocabSize: this.vocabSize, hiddenSize: this.hiddenSize };
  }
}
tf.serialization.registerClass(Unembedding);

/** The table to share, and the cap of the logits. */
export type TiedUnembeddingArgs = CheckpointLayerArgs & Capped & { embedding: TokenEmbedding };

/** An output head whose matrix is the table of a `TokenEmbedding`, which lists and frees it. */
export class TiedUnembedding extends OutputHead {
  static readonly className = "TiedUnembedding";
  private readonly embedding: TokenEmbedding;

  constructor({ embedding, ...rest }: TiedUnembeddingArgs) {
    super(rest);
    this.embedding = embedding;
  }
  override get head(): Matrix {
    return this.embedding.head;
  }
  protected override get rows(): number {
    return this.embedding.rows;
  }
  override build(): void {
    if (!this.embedding.built) this.buildChild(this.embedding, [null, null]);
    this.built = true;
  }
  override getConfig(): tf.serialization.ConfigDict {
    const embedding = { className: TokenEmbedding.className, config: this.embedding.getConfig() };
    return { ...super.getConfig(), embedding };
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
