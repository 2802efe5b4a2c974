import * as tf from "@tensorflow/tfjs";

import { MASK_SIDE, MaskVae } from "../../layers/mask-vae/mask-vae.js";
import type { ByteSource } from "../../weights/byte-source.js";
import { InputError } from "../base/errors.js";
import { buildPart, hasWeights } from "../model/section.js";
import { switchBackend } from "../model/switch-backend.js";
import { CODEBOOK, MASK_CODES } from "../grammar/parse-objects.js";
import { readMaskWeights, scopeOf } from "./weights.js";

/** Masks that are coded at once: the search of the published codebook takes 4 MB for each. */
const AT_ONCE = 8;
const PIXELS = MASK_SIDE * MASK_SIDE;

/** Masks to codes and codes to masks, with the weights of one file. */
export class MaskCodec {
  private constructor(
    private readonly vae: MaskVae,
    private readonly backend: string,
  ) {}

  /**
   * Loads the weights that `readMaskWeights` reads onto a backend that runs; the source stays the caller's. Throws
   * `WeightsError`.
   */
  static async load(source: ByteSource, backend: string = tf.getBackend()): Promise<MaskCodec> {
    const { config, tensors } = await readMaskWeights(source);
    switchBackend(backend);
    const vae = new MaskVae({ config, scope: scopeOf(tensors) });
    buildPart({ path: "", layer: vae, inputShapes: [[null, MASK_CODES]] });
    return new MaskCodec(vae, backend);
  }

  /**
   * Sixteen codes below 128 for each mask -> maps [64, 64], about -1 outside and 1 inside. Throws `InputError` for
   * other codes.
   */
  async decode(codes: readonly (readonly number[])[]): Promise<Float32Array[]> {
    codes.forEach((one, i) => checkCodes(one, `codes[${i}]`));
    const decoded = (some: readonly (readonly number[])[]) =>
      this.vae.apply(tf.tensor2d(some as number[][], [some.length, MASK_CODES], "int32")) as tf.Tensor;
    return (await this.inPieces(codes, decoded)) as Float32Array[];
  }

  /** Maps [64, 64] in [-1, 1] -> sixteen codes each. Throws `InputError` for maps of another size. */
  async encode(maps: readonly Float32Array[]): Promise<number[][]> {
    const other = maps.find(({ length }) => length !== PIXELS);
    if (other) throw new InputError(`maps: expected ${MASK_SIDE} x ${MASK_SIDE} values, received ${other.length}`);
    const shape: [number, number, number] = [MASK_SIDE, MASK_SIDE, 1];
    const encoded = (some: readonly Float32Array[]) =>
      this.vae.encode(tf.stack(some.map((map) => tf.tensor3d(map, shape))));
    return (await this.inPieces(maps, encoded)).map((codes) => [...codes]);
  }

  /** Frees the weights. */
  dispose(): void {
    this.vae.dispose();
  }

  /** The rows that `run` gives for all, a few at a time. */
  private async inPieces<T>(all: readonly T[], run: (some: readonly T[]) => tf.Tensor): Promise<tf.TypedArray[]> {
    const rows: tf.TypedArray[] = [];
    for (let at = 0; at < all.length; at += AT_ONCE) {
      if (!hasWeights(this.vae)) {
        throw new InputError("masks: their weights have been disposed; load the model, or the codec, again");
      }
      switchBackend(this.backend);
      const some = all.slice(at, at + AT_ONCE);
      const output = tf.tidy(() => run(some));
      try {
        const values = await output.data();
        const size = values.length / some.length;
        some.forEach((_, i) => rows.push(values.slice(i * size, (i + 1) * size)));
      } finally {
        output.dispose();
      }
    }
    return rows;
  }
}

function checkCodes(codes: readonly number[], label: string): void {
  const known = codes.every((code) => Number.isInteger(code) && code >= 0 && code < CODEBOOK);
  if (known && codes.length === MASK_CODES) return;
  const expected = `${MASK_CODES} whole numbers below ${CODEBOOK}`;
  throw new InputError(`${label}: expected ${expected}, received ${JSON.stringify(codes)}`);
}
