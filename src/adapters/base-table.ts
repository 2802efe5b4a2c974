import * as tf from "@tensorflow/tfjs";

import { heldDtype } from "../../layers/stored.js";
import { rowsOf } from "../../layers/low-rank.js";
import type { AdapterFile, PlacedTensor } from "../../weights/adapter/adapter-file.js";
import { bytesOf, fromFloat32, toFloat32 } from "../../weights/dtype.js";
import { WeightsError } from "../../weights/errors.js";
import { isPackedForm, STORED } from "../backends/dtypes.js";

/** Rows that are compared at once. */
const ROWS_AT_ONCE = 4096;

/**
 * The base model's tensor `weight`, a table, that PEFT has put into an adapter's file, where it has and where it is not
 * `stored` [V, D], the one at hand; mostly it is. Throws `WeightsError` when the file has two that differ.
 */
export async function otherBaseTable(
  file: AdapterFile,
  { weight, stored }: { weight: string; stored: tf.Tensor },
  activate: () => void,
): Promise<PlacedTensor | null> {
  const others: PlacedTensor[] = [];
  for (const table of file.placed.filter((one) => one.role === "base" && one.weight === weight)) {
    const same = await everyPiece(file, [table], ([rows], at) => {
      activate();
      return holds(stored, rows, at);
    });
    if (!same) others.push(table);
  }
  const [first = null, ...more] = others;
  for (const table of more) {
    const same = await everyPiece(file, [first!, table], ([a, b]) => a.every((value, i) => value === b[i]));
    if (same) continue;
    const names = `"${first!.entry.name}" and "${table.entry.name}"`;
    throw new WeightsError(`${file.folder.name}: ${names} differ; the base model has one table for both`);
  }
  return first;
}

/** Whether `test` is true of every piece, row `at` and those behind it, of tables of one shape. */
async function everyPiece(
  file: AdapterFile,
  tables: readonly PlacedTensor[],
  test: (rows: Float32Array[], at: number) => boolean,
): Promise<boolean> {
  const [rows, columns] = tables[0].shape;
  for (let at = 0; at < rows; at += ROWS_AT_ONCE) {
    const end = Math.min(at + ROWS_AT_ONCE, rows);
    const pieces = tables.map(async (table) => {
      const row = columns * bytesOf(table.entry.dtype);
      return toFloat32(await file.read(table, at * row, end * row), table.entry.dtype);
    });
    if (!test(await Promise.all(pieces), at)) return false;
  }
  return true;
}

/**
 * Whether the rows from `at` on are these, once they have the type that the table is held in; of a packed one, as near
 * as its codes can be.
 */
function holds(stored: tf.Tensor, rows: Float32Array, at: number): boolean {
  const dtype = heldDtype(stored);
  const width = stored.shape[1]!;
  return tf.tidy(() => {
    const ids = tf.range(at, at + rows.length / width, 1, "int32");
    const ours = rowsOf(stored, ids).dataSync() as Float32Array;
    if (dtype !== null && isPackedForm(dtype)) return withinCodes(ours, rows, width);
    const rounded = dtype === null ? rows : toFloat32(fromFloat32(rows, STORED[dtype]), STORED[dtype]);
    return ours.every((value, i) => value === rounded[i]);
  });
}

// A code of 8 bit is a 127th of its row's largest number.
function withinCodes(ours: Float32Array, rows: Float32Array, width: number): boolean {
  return Array.from({ length: rows.length / width }, (_, row) => {
    const own = rows.subarray(row * width, (row + 1) * width);
    const step = own.reduce((most, value) => Math.max(most, Math.abs(value)), 0) / 127;
    return own.every((value, i) => Math.abs(value - ours[row * width + i]) <= step);
  }).every(Boolean);
}
