/**
 * Rows of attention: `values` is [queries, layers, heads, keys], `queries` the position of each query in the sequence.
 * @typedef {{ queries: readonly number[], layers: number, heads: number, keys: number, values: Float32Array }}
 * AttentionRows
 */

/**
 * The attention that one segment received; the masses of all segments of one row sum to 1.
 * @typedef {{ name: import("../../model/segments.js").SegmentName, start: number, end: number, mass: number }}
 * SegmentMass
 */

/**
 * One row [keys]: of a query, a layer and a head, each by index; null means over all layers, or all heads.
 * @param {AttentionRows} rows
 * @param {number} query
 * @param {number | null} layer
 * @param {number | null} head
 */
export function attentionRow({ layers, heads, keys, values }, query, layer, head) {
  const chosenLayers = layer === null ? Array.from({ length: layers }, (_, i) => i) : [layer];
  const chosenHeads = head === null ? Array.from({ length: heads }, (_, i) => i) : [head];
  const row = new Float64Array(keys);
  for (const l of chosenLayers) {
    for (const h of chosenHeads) {
      const start = ((query * layers + l) * heads + h) * keys;
      for (let key = 0; key < keys; key++) row[key] += values[start + key];
    }
  }
  return row.map((sum) => sum / (chosenLayers.length * chosenHeads.length));
}

/**
 * The mass of each segment in a row [keys]; keys after the row's end count as 0.
 * @param {ArrayLike<number>} row
 * @param {readonly import("../../model/segments.js").Segment[]} segments
 * @returns {SegmentMass[]}
 */
export function massBySegment(row, segments) {
  return segments.map(({ name, start, end }) => {
    let mass = 0;
    for (let key = start; key < Math.min(end, row.length); key++) mass += row[key];
    return { name, start, end, mass };
  });
}

/**
 * The indices of the `count` largest values, largest first; NaN is never among them.
 * @param {ArrayLike<number>} values
 * @param {number} count
 */
export function largest(values, count) {
  return Array.from(values, (value, index) => ({ value, index }))
    .filter(({ value }) => !Number.isNaN(value))
    .sort((a, b) => b.value - a.value || a.index - b.index)
    .slice(0, count)
    .map(({ index }) => index);
}

/**
 * The rank of one value: 1 for the largest, and equal values share the better rank.
 * @param {ArrayLike<number>} values
 * @param {number} index
 */
export function rankOf(values, index) {
  let rank = 1;
  for (let i = 0; i < values.length; i++) if (values[i] > values[index]) rank++;
  return rank;
}

/**
 * The values with some cells left out, which is written as NaN.
 * @param {ArrayLike<number>} values
 * @param {readonly number[]} cells
 */
export function leaveOut(values, cells) {
  const kept = Float64Array.from(values);
  for (const cell of cells) kept[cell] = NaN;
  return kept;
}
