import * as tf from "@tensorflow/tfjs";

/**
 * a · b, or a · bᵀ with `transposeB`, over the last two axes; leading axes are equal.
 * `a` [..., M, I], `b` [..., I, O] or [..., O, I] -> [..., M, O]. The caller owns the result.
 *
 * wasm multiplies fast only two plain matrices (no batch, no transposition), so there the batch becomes a loop.
 * Source: tensorflow/tfjs, tfjs-backend-wasm/src/cc/kernels/BatchMatMul.cc (XNNPACK only for one untransposed pair).
 */
export function batchMatMul(a: tf.Tensor, b: tf.Tensor, transposeB = false): tf.Tensor {
  // Nor while a gradient is recorded: that of a stack of one fails (Unpack_grad.ts takes its only slice for a list).
  if (tf.getBackend() !== "wasm" || tf.engine().isTapeOn()) return tf.matMul(a, b, false, transposeB);
  return tf.tidy(() => {
    const matrices = (x: tf.Tensor): tf.Tensor2D[] => {
      const [rows, columns] = x.shape.slice(-2) as [number, number];
      return tf.unstack(x.reshape([-1, rows, columns])) as tf.Tensor2D[];
    };
    const right = matrices(b).map((matrix) => (transposeB ? (matrix.transpose() as tf.Tensor2D) : matrix));
    const products = matrices(a).map((matrix, i) => tf.matMul(matrix, right[i]!));
    return tf.stack(products).reshape([...a.shape.slice(0, -1), right[0]!.shape[1]]);
  });
}
