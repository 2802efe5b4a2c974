import * as tf from "@tensorflow/tfjs";

import { InputError } from "../base/errors.js";
import type { AxisLetter, HookPoint } from "../model/hook-catalogue.js";
import type { Segment } from "../model/segments.js";
import { checkIndices } from "./indices.js";
import { keysOf, type Pass, queriesOf, seenAt } from "./pass.js";
import { type Positions, resolvePositions } from "./positions.js";

/** What is meant of an activation; what is not given is meant whole. */
export type Selector = {
  /** Positions of the queries; of a vision or projector hook, patches. */
  positions?: Positions | undefined;
  /** Positions of the keys, of scores and patterns. */
  keys?: Positions | undefined;
  /** Indices of heads: query heads, or key heads where the activation has those. */
  heads?: readonly number[] | undefined;
  /** Indices on the last axis: neurons, or components of the stream or of a head. */
  units?: readonly number[] | undefined;
};

/** Indices along one axis, for each row of the batch; a single list serves all rows. */
export type AxisIndices = { axis: number; rows: number[][] };

const QUERY_AXES: readonly AxisLetter[] = ["T", "P", "T_text"];

/**
 * The indices that a selector means on the axes of an activation of this pass, axes meant whole left out. Null where
 * the pass has none of the positions. Throws `InputError` for what the activation has not got: keys, heads, a segment
 * of text among patches.
 */
export function select(point: HookPoint, selector: Selector, pass: Pass): AxisIndices[] | null {
  const { positions, keys, heads, units } = selector;
  const chosen: AxisIndices[] = [];
  const add = (axis: number, what: string, rows: () => number[][]) => {
    if (axis < 0) throw new InputError(`${what}: ${point.name} [${point.axes.join(", ")}] has no such axis`);
    chosen.push({ axis, rows: rows() });
  };
  const query = point.axes.findIndex((letter) => QUERY_AXES.includes(letter));
  if (positions !== undefined) add(query, "positions", () => queryRows(point, positions, pass));
  if (keys !== undefined) add(keyAxis(point), "keys", () => keyRows(point, keys, pass));
  if (heads !== undefined) {
    const axis = point.axes.findIndex((letter) => letter === "N" || letter === "K");
    add(axis, "heads", () => [distinct(heads, point.shape[axis] as number, `heads of ${point.name}`)]);
  }
  if (units !== undefined) {
    const axis = lastAxis(point);
    add(axis, "units", () => [distinct(units, point.shape[axis] as number, `units of ${point.name}`)]);
  }
  return chosen.some(({ rows }) => rows.every((row) => row.length === 0)) ? null : chosen;
}

/** What a capture keeps of each activation. */
export type KeptPart = Pick<Selector, "positions" | "keys">;

/**
 * As `select`, for a part that is kept of activations of several kinds: keys are cut where there are keys, a shared
 * table is kept whole.
 */
export function selectKept(point: HookPoint, { positions, keys }: KeptPart, pass: Pass): AxisIndices[] | null {
  const shared = point.axes[0] === "1";
  return select(
    point,
    { positions: shared ? undefined : positions, keys: keyAxis(point) < 0 ? undefined : keys },
    pass,
  );
}

/** An error about a part of an activation that a prompt does not have; `outcome` says what comes of it. */
export const nothingMeant = (who: string, { positions, keys }: KeptPart, { name }: HookPoint, outcome: string) =>
  new InputError(
    `${who}: ${JSON.stringify({ positions, keys })} means nothing of ${name} in this prompt, so that ${outcome}`,
  );

const isPatches = (point: HookPoint): boolean => point.axes[1] === "P" || point.axes[2] === "P";

function keyAxis(point: HookPoint): number {
  const isCells = point.axes.length === 4 && point.axes[1] === "N" && point.axes[3] !== "H";
  return isCells ? 3 : -1;
}

const lastAxis = (point: HookPoint): number =>
  ["H", "D", "F", "V"].includes(point.axes.at(-1)!) ? point.axes.length - 1 : -1;

function queryRows(point: HookPoint, positions: Positions, pass: Pass): number[][] {
  if (isPatches(point)) return [patches(point, positions, "positions")];
  const rows = queriesOf(seenAt(point.name, pass), positions, `positions of ${point.name}`);
  if (!point.axes.includes("T_text")) return rows;
  const texts = pass.step === 0 ? pass.texts : pass.texts.map(() => [0]);
  if (texts.some((row) => row.length !== texts[0]!.length)) {
    throw new InputError(`positions: ${point.name} holds the text of unequal rows one after another; take it whole`);
  }
  return rows.map((row, b) => row.map((at) => texts[b]!.indexOf(at)).filter((at) => at >= 0));
}

const keyRows = (point: HookPoint, keys: Positions, pass: Pass): number[][] =>
  isPatches(point) ? [patches(point, keys, "keys")] : keysOf(pass, keys, `keys of ${point.name}`);

function patches(point: HookPoint, positions: Positions, what: string): number[] {
  const length = point.shape[point.axes.indexOf("P")] as number;
  const segments: Segment[] = [{ name: "image", start: 0, end: length }];
  const named = (Array.isArray(positions) ? positions : [positions]).find(
    (one) => typeof one === "string" && /^[a-z]+$/.test(one) && one !== "image",
  );
  if (named !== undefined) {
    throw new InputError(
      `${what}: ${point.name} has patches only, received "${String(named)}"; give indices or "image"`,
    );
  }
  return resolvePositions(positions, { length, prompt: length, segments }, `${what} of ${point.name}`);
}

function distinct(indices: readonly number[], size: number, what: string): number[] {
  return [...new Set(checkIndices(what, indices, size))].sort((a, b) => a - b);
}

/**
 * The part of a tensor at the given indices; the caller owns it. Throws `InputError` where rows mean unequal numbers of
 * positions.
 */
export function cut(x: tf.Tensor, selection: readonly AxisIndices[], name: string): tf.Tensor {
  return tf.tidy(() => selection.reduce((part, { axis, rows }) => cutAxis(part, axis, rows, name), x).clone());
}

function cutAxis(x: tf.Tensor, axis: number, rows: number[][], name: string): tf.Tensor {
  const first = rows[0]!;
  if (rows.every((row) => row.length === first.length && row.every((at, i) => at === first[i]))) {
    return tf.gather(x, tf.tensor1d(first, "int32"), axis);
  }
  if (rows.some((row) => row.length !== first.length)) {
    const counts = rows.map((row) => row.length).join(", ");
    throw new InputError(`positions: ${name} would keep unequal numbers of positions in its rows (${counts})`);
  }
  const parts = tf.split(x, rows.length, 0).map((part, b) => tf.gather(part, tf.tensor1d(rows[b]!, "int32"), axis));
  return tf.concat(parts, 0);
}
