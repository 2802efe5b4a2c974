import * as tf from "@tensorflow/tfjs";

import { Matrix } from "./matrix.js";
import { isPresent } from "./present.js";
import { Weight } from "./weight.js";

/**
 * The part of a checkpoint below one name; `get` checks the shape and hands over a tensor of the caller's own, `matrix`
 * one in the form that the backend multiplies by (held.ts).
 */
export interface WeightScope {
  at(path: string): WeightScope;
  get(name: string, shape: number[]): tf.Tensor;
  matrix(name: string, shape: number[]): tf.Tensor;
}

/** Arguments of every layer here: tfjs's own, and where in a checkpoint its tensors are (none: they start random). */
export type CheckpointLayerArgs = NonNullable<ConstructorParameters<typeof tf.layers.Layer>[0]> & {
  scope?: WeightScope | undefined;
};
type Initializer = ReturnType<typeof tf.initializers.zeros>;

class FromCheckpoint extends tf.serialization.Serializable implements Initializer {
  static readonly className = "FromCheckpoint";
  constructor(
    private readonly scope: WeightScope,
    private readonly tensorName: string,
    private readonly kind: "get" | "matrix",
  ) {
    super();
  }
  apply(shape: tf.Shape): tf.Tensor {
    return this.scope[this.kind](this.tensorName, shape as number[]);
  }
  fromConfigUsesCustomObjects(): boolean {
    return false;
  }
  getConfig(): tf.serialization.ConfigDict {
    return { tensorName: this.tensorName, kind: this.kind };
  }
}

/** A `tf.layers.Layer` whose weights carry checkpoint names, and which owns the layers that it is made of. */
export abstract class CheckpointLayer extends tf.layers.Layer {
  private readonly children: CheckpointLayer[] = [];
  private readonly named: [name: string, weight: Weight][] = [];
  private readonly matrices: Matrix[] = [];
  protected readonly scope: WeightScope | undefined;

  constructor(args: CheckpointLayerArgs = {}) {
    const { scope, ...layerArgs } = args;
    super(layerArgs);
    this.scope = scope;
  }

  /** A weight under its checkpoint name. Without a checkpoint it starts random. */
  protected addTensor(name: string, shape: number[]): Weight {
    const weight = new Weight(this.addFrom("get", name, shape));
    this.named.push([name, weight]);
    return weight;
  }

  private addFrom(kind: "get" | "matrix", name: string, shape: number[]): tf.LayerVariable {
    const random = tf.initializers.randomNormal({ stddev: 0.02 });
    const initializer = this.scope ? new FromCheckpoint(this.scope, name, kind) : random;
    return this.addWeight(allowed(name), shape, "float32", initializer);
  }

  /** A weight that is multiplied by, [out, in]; a stored shape of more axes is flattened behind the first. */
  protected addMatrix(name: string, shape: number[]): Matrix {
    const matrix = this.releaseWithLayer(new Matrix(this.addFrom("matrix", name, shape)));
    this.named.push([name, matrix]);
    return matrix;
  }

  /** Frees the copies of `matrix`, which has no name of its own, with this layer's. */
  protected releaseWithLayer(matrix: Matrix): Matrix {
    this.matrices.push(matrix);
    return matrix;
  }

  /** Every weight of this layer and of its parts, by its checkpoint name below this layer. */
  namedWeights(): [name: string, weight: Weight][] {
    const below = (child: CheckpointLayer) =>
      child.namedWeights().map(([name, weight]): [string, Weight] => [`${child.name}.${name}`, weight]);
    return [...this.named, ...this.children.flatMap(below)];
  }

  /** Arguments of a child whose tensors lie below `name`. */
  protected part(name: string): { name: string; scope: WeightScope | undefined } {
    return { name: allowed(name), scope: this.scope?.at(name) };
  }

  /** Registers `child` as a part of this layer: its weights are listed, frozen and freed with this one's. */
  protected own<L extends CheckpointLayer>(child: L): L {
    this.children.push(child);
    return child;
  }

  /**
   * Creates a child's weights under this layer's name: a symbolic `apply` builds the parent and never reaches `call`.
   */
  protected buildChild(child: CheckpointLayer, ...shapes: tf.Shape[]): void {
    child.apply(symbolic(shapes));
  }

  override computeOutputShape(inputShape: tf.Shape | tf.Shape[]): tf.Shape | tf.Shape[] {
    return shapesOf(inputShape)[0]!;
  }

  // tfjs does not see nested layers: without these two, model.weights, dispose() and freezing would miss them.
  override get trainableWeights(): tf.LayerVariable[] {
    if (!this.trainable) return [];
    return [...super.trainableWeights, ...this.children.flatMap((child) => child.trainableWeights)];
  }
  override get nonTrainableWeights(): tf.LayerVariable[] {
    const rest = (child: tf.layers.Layer) => (this.trainable ? child.nonTrainableWeights : child.weights);
    return [...super.nonTrainableWeights, ...this.children.flatMap(rest)];
  }

  // For a variable that is disposed already tfjs would throw.
  protected override disposeWeights(): number {
    const present = this.weights.filter(isPresent);
    for (const weight of present) weight.dispose();
    return present.length;
  }

  override dispose(): ReturnType<tf.layers.Layer["dispose"]> {
    const result = super.dispose();
    if (result.refCountAfterDispose === 0) this.releaseCopies();
    return result;
  }
  private releaseCopies(): void {
    for (const matrix of this.matrices) matrix.release();
    for (const child of this.children) child.releaseCopies();
  }
}

/**
 * A checkpoint name without underscores at its start, which tfjs allows neither in a layer's name nor in a variable's.
 */
const allowed = (name: string): string => name.replace(/^_+/, "");

/** Placeholders of the given shapes: applying a layer to them creates its weights without computing anything. */
export const symbolic = (shapes: tf.Shape[]): tf.SymbolicTensor[] =>
  shapes.map((shape) => new tf.SymbolicTensor("float32", shape, null!, [], {}));

/** One shape or a list of them, as a list. */
export const shapesOf = (shape: tf.Shape | tf.Shape[]): tf.Shape[] =>
  (Array.isArray(shape[0]) ? shape : [shape]) as tf.Shape[];

/** One value or a list of them, as a list. */
export const listOf = <T>(value: T | T[]): T[] => (Array.isArray(value) ? value : [value]);
