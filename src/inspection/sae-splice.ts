import * as tf from "@tensorflow/tfjs";

import type { Tap } from "../../layers/tap.js";
import { InputError } from "../base/errors.js";
import { checkOptions, flag, list, type OptionKinds } from "../base/options.js";
import { compileFeatureEdits, type FeatureEdit, type FeatureEdits } from "./sae-edits.js";
import { measure, type ReconstructionError, readMeasured } from "./sae-error.js";
import type { JumpReluSae } from "./sae.js";

/** How a sparse autoencoder is put in the place of an activation. */
export type SpliceOptions = {
  /**
   * Positions that are replaced, negative ones from the end; all by default. They are those of the pass: 0 in decoding
   * steps.
   */
  positions?: readonly number[] | undefined;
  /** Adds what the reconstruction misses: then only the edits change the run. */
  keepError?: boolean | undefined;
  /** Changes of features, in this order. */
  edits?: readonly FeatureEdit[] | undefined;
};

const SPLICE_KINDS: OptionKinds<SpliceOptions> = { positions: list, keepError: flag, edits: list };

/** A tap that splices one hook, and tells how well the autoencoder fits what passed there. */
export type SaeSplice = Tap & {
  readonly wants: (name: string) => boolean;
  /**
   * The error of the reconstruction, without edits, for each time that the hook fired since the last report. Throws
   * `InputError` when it did not fire.
   */
  report(): Promise<ReconstructionError[]>;
  /** Frees what was measured and not reported. The autoencoder stays the caller's. */
  dispose(): void;
};

/**
 * A tap that replaces the activation `hook` ([B, T, D], or attn.hook_z [B, T, N, H] with N·H = D) by decode(edited
 * acts), or with `keepError` by x + (edited acts - acts)·w_dec, which is decode(edited acts) + (x - decode(acts)).
 * Other hooks pass untouched. Throws `InputError` for an edit of a feature that is not there; its tap throws one where
 * hook and autoencoder differ in width.
 */
export function spliceSae(sae: JumpReluSae, hook: string, options: SpliceOptions = {}): SaeSplice {
  checkOptions("spliceSae", options, SPLICE_KINDS);
  const edits = compileFeatureEdits(options.edits ?? [], sae);
  const measured: { rows: number; figures: tf.Tensor }[] = [];
  const splice = (rows: tf.Tensor2D): tf.Tensor => {
    const acts = sae.encode(rows);
    const reconstruction = sae.decode(acts);
    measured.push({ rows: rows.shape[0], figures: tf.keep(measure(rows, acts, reconstruction)) });
    const result = options.keepError ? rows : reconstruction;
    return edits === null ? result : result.add(changeBy(edits, acts, sae));
  };
  const tap = (name: string, value: tf.Tensor): tf.Tensor => {
    if (name !== hook) return value;
    checkWidth(value, hook, sae);
    return tf.tidy(() =>
      replaceRows(value, chosenPositions(value, hook, options.positions), sae.width, splice).clone(),
    );
  };
  const dispose = () => measured.splice(0).forEach(({ figures }) => figures.dispose());
  const report = async () => {
    if (measured.length === 0) {
      throw new InputError(
        `sae: ${hook} has not fired; is it a name of this model, and the splice among the run's taps?`,
      );
    }
    return Promise.all(measured.splice(0).map(({ rows, figures }) => readMeasured(hook, rows, figures)));
  };
  return Object.assign(tap, { wants: (name: string) => name === hook, report, dispose });
}

/** (edited acts - acts)·w_dec, over the edited features alone. `acts` [rows, M] -> [rows, D]. */
function changeBy({ features, factors, values }: FeatureEdits, acts: tf.Tensor, sae: JumpReluSae): tf.Tensor {
  const indices = tf.tensor1d(features, "int32");
  const found = tf.gather(acts, indices, 1); // [rows, edited]
  const change = found.mul(tf.tensor1d(factors).sub(1)).add(tf.tensor1d(values));
  return tf.matMul(change as tf.Tensor2D, tf.gather(sae.weights.wDec, indices) as tf.Tensor2D);
}

function checkWidth(value: tf.Tensor, hook: string, sae: JumpReluSae): void {
  const isRows = value.rank === 3 || (value.rank === 4 && hook.endsWith(".hook_z"));
  const width = value.shape.slice(2).reduce((product, axis) => product * axis, 1);
  if (isRows && width === sae.width) return;
  const found = isRows ? `, ${width} wide` : ", which has no rows to encode";
  throw new InputError(
    `sae: ${hook} is [${value.shape.join(", ")}]${found}; ${sae.name} expects a width of ${sae.width}`,
  );
}

/** The positions as indices of axis 1, or null for all of them. */
function chosenPositions(value: tf.Tensor, hook: string, positions: readonly number[] | undefined): number[] | null {
  if (positions === undefined) return null;
  const length = value.shape[1]!;
  const indices = positions.map((position) => {
    const at = position < 0 ? position + length : position;
    if (Number.isSafeInteger(position) && at >= 0 && at < length) return at;
    throw new InputError(`sae: expected positions of ${hook} in [${-length}, ${length}), received ${position}`);
  });
  if (indices.length === 0) throw new InputError(`sae: expected at least one position of ${hook}, received none`);
  return [...new Set(indices)];
}

/**
 * `x` with `change` applied to its rows at the given positions. `x` [B, T, ...], `change` [rows, width] -> the same.
 */
function replaceRows(
  x: tf.Tensor,
  positions: number[] | null,
  width: number,
  change: (rows: tf.Tensor2D) => tf.Tensor,
): tf.Tensor {
  if (positions === null) return change(x.reshape([x.size / width, width])).reshape(x.shape);
  const [batch, length] = x.shape;
  const part = tf.gather(x, tf.tensor1d(positions, "int32"), 1); // [B, positions, ...]
  const changed = change(part.reshape([batch! * positions.length, width])).reshape(part.shape);
  // The new rows behind all the old ones; then each place takes its own.
  const places = Array.from({ length: length! }, (_, t) =>
    positions.includes(t) ? length! + positions.indexOf(t) : t,
  );
  return tf.gather(tf.concat([x, changed], 1), tf.tensor1d(places, "int32"), 1);
}
