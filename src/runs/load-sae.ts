import * as tf from "@tensorflow/tfjs";

import { isFloat, toFloat32 } from "../../weights/dtype.js";
import { WeightsError } from "../../weights/errors.js";
import type { NpyArray } from "../../weights/npy.js";
import { type NpzArchive, openNpz } from "../../weights/npz.js";
import { openFile } from "../../weights/source.js";
import { JumpReluSae, type SaeWeights } from "../inspection/sae.js";

const NAMES = ["w_enc", "w_dec", "b_enc", "b_dec", "threshold"] as const;

/**
 * Loads a sparse autoencoder of Gemma Scope from its `params.npz` (float32, float16 or bfloat16 saved as two bytes)
 * onto the current backend, as float32. The caller disposes it. Throws `WeightsError` naming file and array when one is
 * missing, of another type or of a shape that does not fit the others, and when there are arrays that this kind of
 * autoencoder does not have.
 */
export async function loadSae(path: string): Promise<JumpReluSae> {
  const source = await openFile(path);
  try {
    const archive = await openNpz(source, { void2: "BF16" });
    const other = archive.names.find((name) => !(NAMES as readonly string[]).includes(name));
    if (other !== undefined) {
      const known = NAMES.join(", ");
      throw new WeightsError(`${path}: array "${other}" is none of ${known}; this is another kind of autoencoder`);
    }
    return new JumpReluSae(path, await readWeights(archive, path));
  } finally {
    await source.close();
  }
}

async function readWeights(archive: NpzArchive, path: string): Promise<SaeWeights> {
  const encoder = await archive.read("w_enc");
  if (encoder.shape.length !== 2 || encoder.shape.includes(0)) {
    throw new WeightsError(
      `${path}: array "w_enc" has shape [${encoder.shape.join(", ")}], expected [width, features]`,
    );
  }
  const [D, M] = encoder.shape;
  // One after another, so that the bytes of only one are in memory beside the numbers.
  const values = async (name: (typeof NAMES)[number], shape: number[]): Promise<Float32Array> => {
    const array = await archive.read(name);
    if (array.shape.join() === shape.join()) return numbers(array, `${path}: array "${name}"`);
    const expected = `expected [${shape.join(", ")}] beside "w_enc" [${D}, ${M}]`;
    throw new WeightsError(`${path}: array "${name}" has shape [${array.shape.join(", ")}], ${expected}`);
  };
  const wEnc = numbers(encoder, `${path}: array "w_enc"`);
  const [wDec, bEnc] = [await values("w_dec", [M, D]), await values("b_enc", [M])];
  const [bDec, threshold] = [await values("b_dec", [D]), await values("threshold", [M])];
  // Tensors are made only when nothing can fail any more.
  return {
    wEnc: tf.tensor2d(wEnc, [D, M]),
    wDec: tf.tensor2d(wDec, [M, D]),
    bEnc: tf.tensor1d(bEnc),
    bDec: tf.tensor1d(bDec),
    threshold: tf.tensor1d(threshold),
  };
}

function numbers({ dtype, data }: NpyArray, where: string): Float32Array {
  if (isFloat(dtype)) return toFloat32(data, dtype);
  throw new WeightsError(`${where} is ${dtype}, expected F32, F16 or BF16`);
}
