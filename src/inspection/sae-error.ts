import * as tf from "@tensorflow/tfjs";

/** How far a reconstruction x̂ is from the activation x that passed one hook. */
export type ReconstructionError = {
  hook: string;
  /** Rows that were encoded: rows of the batch times positions. */
  rows: number;
  /** mean((x̂ - x)²) over all numbers. */
  meanSquaredError: number;
  /**
   * mean((x̂ - x)²) / mean((x - mean over rows)²): 0 is perfect, 1 no better than the mean row. Null where all rows are
   * one.
   */
  varianceUnexplained: number | null;
  /** L0: the mean number of features that are not 0 in a row. */
  meanActive: number;
  /** Mean over rows of cos(x, x̂); a row of zeros counts as 0. */
  cosine: number;
};

/** Below this a product of norms is that of a row of zeros. */
const TINY = 1e-30;

/**
 * [mean squared error, variance, L0, cosine] as a tensor [4], for `readMeasured`: reading numbers inside a pass would
 * stop it. `x` and `reconstruction` [rows, D], `acts` [rows, M]. The caller owns the result.
 */
export function measure(x: tf.Tensor2D, acts: tf.Tensor, reconstruction: tf.Tensor): tf.Tensor1D {
  return tf.tidy(() => {
    const error = reconstruction.sub(x).square().mean();
    const variance = x.sub(x.mean(0)).square().mean();
    const active = acts.notEqual(0).toFloat().sum(-1).mean();
    const norms = x.square().sum(-1).sqrt().mul(reconstruction.square().sum(-1).sqrt());
    const cosine = x.mul(reconstruction).sum(-1).div(norms.maximum(TINY)).mean();
    return tf.stack([error, variance, active, cosine]) as tf.Tensor1D;
  });
}

/** What `measure` found, in words; frees the tensor. */
export async function readMeasured(hook: string, rows: number, figures: tf.Tensor): Promise<ReconstructionError> {
  const [meanSquaredError, variance, meanActive, cosine] = (await figures.data()) as Float32Array;
  figures.dispose();
  const varianceUnexplained = rows > 1 && variance > 0 ? meanSquaredError / variance : null;
  return { hook, rows, meanSquaredError, varianceUnexplained, meanActive, cosine };
}
