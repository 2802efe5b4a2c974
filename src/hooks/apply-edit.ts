import * as tf from "@tensorflow/tfjs";

import { MASKED } from "../../layers/axes.js";
import { InputError } from "../base/errors.js";
import type { HookPoint } from "../model/hook-catalogue.js";
import { requireTensor } from "../base/tensors.js";
import type { Edit, EditValue } from "./edit.js";
import type { Pass } from "./pass.js";
import { type AxisIndices, select } from "./selection.js";

/**
 * The activation after one edit, or the same tensor where the edit means nothing of this pass. What is not selected
 * keeps its bits. Belongs to the caller's tidy. Throws `InputError` where the value does not fit the part, or a query
 * loses its last key.
 */
export function applyEdit(x: tf.Tensor, edit: Edit, point: HookPoint, pass: Pass): tf.Tensor {
  const selection = select(point, edit, pass);
  if (selection === null) return x;
  return tf.tidy(() => {
    const edited = operate(x, edit, selection, point.name);
    const result = selection.length === 0 ? edited : tf.where(maskOf(x, selection), edited, x);
    if (edit.op === "close") requireOpenKeys(x, result, point.name);
    return result;
  });
}

function operate(x: tf.Tensor, edit: Edit, selection: AxisIndices[], name: string): tf.Tensor {
  switch (edit.op) {
    case "suppress":
      return tf.zerosLike(x);
    case "close":
      return tf.fill(x.shape, MASKED);
    case "scale":
      return x.mul(edit.factor!);
    case "add":
      return x.add(spread(edit.value!, x, selection, name));
    case "set":
      return tf.broadcastTo(spread(edit.value!, x, selection, name), x.shape as never);
  }
}

// True at the selected elements, of a shape that broadcasts to x's.
function maskOf(x: tf.Tensor, selection: AxisIndices[]): tf.Tensor {
  const masks = selection.map(({ axis, rows }) => {
    const shape = x.shape.map((size, i) => (i === axis ? size : i === 0 ? rows.length : 1));
    const cells = rows.flatMap((row) => Array.from({ length: x.shape[axis]! }, (_, i) => (row.includes(i) ? 1 : 0)));
    return tf.tensor(cells, shape, "bool");
  });
  const mask = masks.reduce((all, one) => all.logicalAnd(one));
  return tf.broadcastTo(mask, x.shape as never).toBool();
}

/** A value for the selected part as one that broadcasts to the whole: each selected index finds its own element. */
function spread(value: EditValue, x: tf.Tensor, selection: AxisIndices[], name: string): tf.Tensor {
  const given = value instanceof tf.Tensor ? floats(value, name) : tensorOf(value, name);
  const part = x.shape.map((size, axis) => selection.find((one) => one.axis === axis)?.rows[0]!.length ?? size);
  const extra = part.length - given.rank;
  const fits = extra >= 0 && given.shape.every((size, i) => size === 1 || size === part[extra + i]);
  if (!fits) {
    const shapes = `[${given.shape.join(", ")}] for the part [${part.join(", ")}] of [${x.shape.join(", ")}]`;
    throw new InputError(`value: expected what broadcasts to the selected part of ${name}, received ${shapes}`);
  }
  const aligned = given.reshape([...Array.from({ length: extra }, () => 1), ...given.shape]);
  return selection.reduce((whole, { axis, rows }) => {
    if (whole.shape[axis] === 1) return whole;
    if (rows.some((row) => row.join() !== rows[0]!.join())) {
      throw new InputError(`value: the rows select different positions of ${name}; give one value for all of them`);
    }
    const places = Array.from({ length: x.shape[axis]! }, (_, i) => Math.max(0, rows[0]!.indexOf(i)));
    return tf.gather(whole, tf.tensor1d(places, "int32"), axis);
  }, aligned);
}

function floats(value: tf.Tensor, name: string): tf.Tensor {
  requireTensor(`value for ${name}`, value, value.dtype);
  return value.dtype === "float32" ? value : value.toFloat();
}

function tensorOf(value: Exclude<EditValue, tf.Tensor>, name: string): tf.Tensor {
  try {
    const tensor = tf.tensor(value as number[], undefined, "float32");
    if (Array.from(tensor.dataSync()).every(Number.isFinite)) return tensor;
  } catch {
    // said below, in the words of the caller
  }
  throw new InputError(`value: expected a finite number or nested arrays of such, of even lengths, for ${name}`);
}

// A row without any open key would be uniform over closed ones. Rows that never had one, those of pads, stay as they
// are.
function requireOpenKeys(before: tf.Tensor, after: tf.Tensor, name: string): void {
  const open = (scores: tf.Tensor) => scores.max(-1).greater(tf.scalar(MASKED / 2));
  const lost = open(before).logicalAnd(open(after).logicalNot());
  if (lost.any().dataSync()[0]) {
    throw new InputError(
      `edits: ${name} would leave a query without an open key; leave it one, its own position for example`,
    );
  }
}
