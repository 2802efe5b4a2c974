import { allocate } from "./bytes.js";
import { CHUNK } from "./staging.js";

/** Values that lie row by row with axes of other order than is wanted: `order` lists them as the result has them. */
export interface Transposition {
  readonly shape: readonly number[];
  readonly order: readonly number[];
  /** Bytes of one value: 1, 2, 4 or 8. */
  readonly width: number;
  /** What errors call it. */
  readonly where: string;
}

/** Values along each side of a block that is moved at once: two of them stay in the fastest cache. */
const BLOCK = 32;

const VIEWS = { 1: Uint8Array, 2: Uint16Array, 4: Uint32Array, 8: BigUint64Array } as const;
type Values = { [i: number]: number | bigint; readonly length: number };

/**
 * Reads values and puts their axes in another order. `read` gives bytes `start` to `end` of them; it is asked for
 * pieces of `pieceBytes`, or for one index of the first axis, from the first to the last. The result is a fresh array;
 * `onBytes` hears of each piece.
 */
export async function readTransposed(
  read: (start: number, end: number) => Promise<Uint8Array>,
  { shape: stored, order: wanted, width, where }: Transposition,
  onBytes: (bytes: number) => void,
  pieceBytes = CHUNK,
): Promise<Uint8Array> {
  const { shape, order } = simplified(stored, wanted);
  const rowBytes = shape.slice(1).reduce((product, size) => product * size, width);
  const bytes = allocate(where, shape[0] * rowBytes);
  const View = VIEWS[width as keyof typeof VIEWS];
  const out: Values = new View(bytes.buffer);
  const strides = stridesIn(shape, order);
  const rows = Math.max(1, Math.floor(pieceBytes / rowBytes));
  for (let row = 0; row < shape[0] && bytes.length > 0; row += rows) {
    const count = Math.min(rows, shape[0] - row);
    const piece = await read(row * rowBytes, (row + count) * rowBytes);
    if (order.length === 1) bytes.set(piece, row * rowBytes);
    else {
      const fresh = piece.byteOffset % width === 0 ? piece : piece.slice();
      const values: Values = new View(fresh.buffer as ArrayBuffer, fresh.byteOffset, fresh.length / width);
      scatter(values, [count, ...shape.slice(1)], out, row * strides[0], strides);
    }
    onBytes(piece.length);
  }
  return bytes;
}

/** The same order of fewer axes: those of one index vanish, and those that stay side by side become one. */
function simplified(
  shape: readonly number[],
  order: readonly number[],
): { shape: readonly number[]; order: readonly number[] } {
  const groups: number[][] = [];
  const kept = shape.flatMap((size, axis) => (size === 1 ? [] : [axis]));
  for (const axis of order.filter((axis) => shape[axis] !== 1)) {
    const previous = groups.at(-1)?.at(-1);
    const next = previous !== undefined && kept.indexOf(axis) === kept.indexOf(previous) + 1;
    if (next) groups.at(-1)!.push(axis);
    else groups.push([axis]);
  }
  const inPlace = [...groups].sort(([a], [b]) => a - b);
  const sizes = inPlace.map((axes) => axes.reduce((product, axis) => product * shape[axis], 1));
  if (sizes.length === 0) return { shape: [1], order: [0] };
  return { shape: sizes, order: groups.map((group) => inPlace.indexOf(group)) };
}

/** How far apart neighbours along each stored axis are in the result. */
function stridesIn(shape: readonly number[], order: readonly number[]): number[] {
  const strides = shape.map(() => 1);
  let stride = 1;
  for (const axis of [...order].reverse()) {
    strides[axis] = stride;
    stride *= shape[axis];
  }
  return strides;
}

/**
 * Puts a piece [shape] of the stored values to its places in the result, which start at `base` and are `strides` apart.
 */
function scatter(piece: Values, shape: readonly number[], out: Values, base: number, strides: readonly number[]): void {
  const across = shape.length - 1; // neighbours in the piece
  const along = strides.indexOf(1); // neighbours in the result
  const inner = stridesIn(shape, [...shape.keys()]);
  const outer = [...shape.keys()].filter((axis) => axis !== across && axis !== along);
  const blocks = outer.reduce((product, axis) => product * shape[axis], 1);
  const index = outer.map(() => 0);
  for (let block = 0; block < blocks; block++) {
    const sum = (steps: readonly number[]) => outer.reduce((at, axis, i) => at + index[i] * steps[axis], 0);
    const [from, to] = [sum(inner), base + sum(strides)];
    const plane = { rows: shape[along], columns: shape[across], from, to };
    if (along === across) for (let j = 0; j < plane.columns; j++) out[to + j] = piece[from + j];
    else movePlane(piece, inner[along], out, strides[across], plane);
    for (let i = outer.length - 1; i >= 0 && ++index[i] === shape[outer[i]]; i--) index[i] = 0;
  }
}

type Plane = { rows: number; columns: number; from: number; to: number };

/**
 * Transposes a plane, block by block: rows are `rowStride` apart in the piece, columns `columnStride` in the result.
 */
function movePlane(
  piece: Values,
  rowStride: number,
  out: Values,
  columnStride: number,
  { rows, columns, from, to }: Plane,
): void {
  for (let top = 0; top < rows; top += BLOCK) {
    const bottom = Math.min(top + BLOCK, rows);
    for (let left = 0; left < columns; left += BLOCK) {
      const right = Math.min(left + BLOCK, columns);
      for (let j = left; j < right; j++) {
        const column = to + j * columnStride;
        for (let i = top; i < bottom; i++) out[column + i] = piece[from + i * rowStride + j];
      }
    }
  }
}
