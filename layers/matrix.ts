import * as tf from "@tensorflow/tfjs";

import { geluTanh } from "./gelu.js";
import { dense, heldDtype } from "./stored.js";
import { runKernel } from "./kernel.js";
import { addLowRank, type LowRank, rowsOf, rowsWithLowRank } from "./low-rank.js";
import { batchMatMul } from "./matmul.js";
import { Weight } from "./weight.js";

/** How a product is formed: what follows it, a bias [out] and the tanh form of GELU, and how exactly. */
export type ProductOptions = {
  bias?: tf.Tensor | undefined;
  gelu?: boolean | undefined;
  /** x may be rounded to bfloat16 where the weight has 16 bit and the processor multiplies these faster. */
  coarse?: boolean | undefined;
  /** How many of x's last axes are the inputs, taken as one; 1 by default. */
  inner?: number | undefined;
};

/**
 * A stored matrix W [out, in] in the form that the current backend multiplies by fastest: one that has a kernel of its
 * own reads the weight as it is held, in 16 bit where the file has 16 bit.
 *
 * On wasm a product with a transposed operand falls back to a naive loop (ten times slower), so a transposed copy is
 * kept there beside the variable. It is made at first use, made again when the variable has been assigned to, and
 * bypassed while a gradient is recorded, since the copy would hide the variable from the tape.
 *
 * Adapters may add low-rank parts to it: products and rows then include them, and `read` does not.
 */
export class Matrix extends Weight {
  private copy: tf.Tensor2D | null = null;
  private copiedFrom: object | null = null;
  private parts: readonly LowRank[] = [];

  /** Low-rank parts to include from now on, in their order; they stay the caller's. */
  adapt(parts: readonly LowRank[]): void {
    this.parts = parts;
  }

  /** Whether W is more than `read` returns: a kernel that takes the operand itself would then compute too little. */
  get adapted(): boolean {
    return this.parts.length > 0;
  }

  /**
   * gelu(x · Wᵀ + bias), without bias and GELU where they are not asked for; `x` [..., in] -> [..., out]. The caller
   * owns the result.
   */
  multiply(x: tf.Tensor, options: ProductOptions = {}): tf.Tensor {
    if (!this.adapted) return this.multiplyOperand(x, options);
    const { inner = 1, ...rest } = options;
    return tf.tidy(() => this.multiplyAdapted(inner === 1 ? x : x.reshape([...x.shape.slice(0, -inner), -1]), rest));
  }

  /** Rows of W times `factor`: integers `ids` [...] -> [..., in]. The caller owns the result. */
  rows(ids: tf.Tensor, factor = 1): tf.Tensor {
    if (!this.adapted) return rowsOf(this.read(), ids, factor);
    return tf.tidy(() =>
      this.parts.reduce((rows, part) => rowsWithLowRank(rows, ids, part), rowsOf(this.read(), ids)).mul(factor),
    );
  }

  private multiplyAdapted(x: tf.Tensor, { bias, gelu = false, coarse }: ProductOptions): tf.Tensor {
    return tf.tidy(() => {
      // A gain scales the product and not the bias, which is then added behind it.
      const late = this.parts.some(({ gain }) => gain !== null) ? bias : undefined;
      const product = this.multiplyOperand(x, { bias: late ? undefined : bias, coarse });
      const whole = this.parts.reduce((y, part) => addLowRank(y, x, part), product);
      const sum = late ? whole.add(late) : whole;
      return gelu ? geluTanh(sum) : sum;
    });
  }

  private multiplyOperand(x: tf.Tensor, options: ProductOptions): tf.Tensor {
    const { bias, gelu = false, coarse = false, inner = 1 } = options;
    const [w, attributes] = [this.read(), { activation: gelu ? 1 : 0, coarse: coarse ? 1 : 0, inner }];
    const product = bias
      ? runKernel("PaligemmaLinearBias", { x, w, bias }, attributes)
      : runKernel("PaligemmaLinear", { x, w }, attributes);
    if (product) return product;
    return tf.tidy(() => {
      const plain = this.product(x, inner);
      // Added apart, never fused: wasm's fused product adds the bias once per 48 terms of the sum.
      const sum = bias ? plain.add(bias) : plain;
      return gelu ? geluTanh(sum) : sum;
    });
  }

  private product(x: tf.Tensor, inner: number): tf.Tensor {
    return tf.tidy(() => {
      const weight = this.read();
      const out = weight.shape[0];
      const width = weight.size / out;
      const rows = x.reshape([x.size / width, width]) as tf.Tensor2D;
      const held = heldDtype(weight) === null ? null : runKernel("PaligemmaProduct", { x: rows, w: weight });
      return (held ?? this.plainProduct(rows, dense(weight))).reshape([...x.shape.slice(0, -inner), out]);
    });
  }

  private plainProduct(rows: tf.Tensor2D, weight: tf.Tensor): tf.Tensor {
    const shape: [number, number] = [weight.shape[0], rows.shape[1]];
    if (usesCopies()) return tf.matMul(rows, this.transposed(weight, shape));
    return batchMatMul(rows, weight.rank === 2 ? weight : weight.reshape(shape), true);
  }

  /** Frees the transposed copy; the variable belongs to the layer and stays. */
  release(): void {
    this.copy?.dispose();
    this.copy = null;
    this.copiedFrom = null;
  }

  private transposed(weight: tf.Tensor, shape: [number, number]): tf.Tensor2D {
    if (this.copy === null || this.copiedFrom !== weight.dataId) {
      this.release();
      this.copy = tf.keep(tf.tidy(() => weight.reshape(shape).transpose() as tf.Tensor2D));
      this.copiedFrom = weight.dataId;
    }
    return this.copy;
  }
}

function usesCopies(): boolean {
  return tf.getBackend() === "wasm" && !tf.engine().isTapeOn();
}
