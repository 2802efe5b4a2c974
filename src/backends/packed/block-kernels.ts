import * as tf from "@tensorflow/tfjs";

/** Rows `from` to `to` of a packed matrix [rows, in] as an ordinary float32 tensor, which the caller owns. */
export type UnpackRows = (w: tf.Tensor, from: number, to: number) => tf.Tensor2D;

/** Weights that are unpacked at once: 32 MiB in float32, of which no product needs more than one piece. */
const WEIGHTS_AT_ONCE = 2 ** 23;

/**
 * x · Wᵀ of a packed matrix, some rows of W at a time: `x` [M, in] -> [M, out]. The caller owns the result. It is
 * formed as (W · xᵀ)ᵀ: wasm multiplies fast what is not transposed, and x is the smaller one to transpose.
 */
export function packedProduct(x: tf.Tensor, w: tf.Tensor, unpack: UnpackRows): tf.Tensor {
  return tf.tidy(() => {
    const columns = x.transpose() as tf.Tensor2D;
    const parts = pieces(w).map(([from, to]) => tf.tidy(() => tf.matMul(unpack(w, from, to), columns)));
    return (parts.length === 1 ? parts[0] : tf.concat(parts)).transpose();
  });
}

/** Rows of a packed matrix times `scale`: integers `ids` [...] -> [..., in]. The caller owns the result. */
export function packedEmbed(ids: tf.Tensor, w: tf.Tensor, scale: number, unpack: UnpackRows): tf.Tensor {
  return tf.tidy(() => {
    const rows = runsOf(ids.dataSync()).map(([from, to]) => unpack(w, from, to));
    return tf
      .concat(rows)
      .mul(scale)
      .reshape([...ids.shape, -1]);
  });
}

/** All weights of a packed matrix in float32, for what knows plain tensors only. The caller owns the result. */
export function packedWiden(w: tf.Tensor, unpack: UnpackRows): tf.Tensor {
  return tf.tidy(() => unpack(w, 0, w.shape[0]).reshape(w.shape));
}

function pieces(w: tf.Tensor): [from: number, to: number][] {
  const [rows] = w.shape;
  const step = Math.max(1, Math.floor((WEIGHTS_AT_ONCE * rows) / w.size));
  return Array.from({ length: Math.ceil(rows / step) }, (_, i) => [i * step, Math.min((i + 1) * step, rows)]);
}

/** Neighbours that follow each other, together: rows of one run are unpacked at once. */
function runsOf(ids: ArrayLike<number>): [from: number, to: number][] {
  const runs: [number, number][] = [];
  for (let i = 0; i < ids.length; i++) {
    const last = runs.at(-1);
    if (last?.[1] === ids[i]) last[1]++;
    else runs.push([ids[i], ids[i] + 1]);
  }
  return runs;
}
