/**
 * Palette indices of a run-length coded bitmap, row by row as the file has them; what runs out early is an `Error`.
 * `nibbles`: 4 bits a pixel. Source: Pillow 13, src/PIL/BmpImagePlugin.py, `BmpRleDecoder`.
 */
export function decodeRle(
  bytes: Uint8Array,
  at: number,
  { width, height }: { width: number; height: number },
  nibbles: boolean,
): Uint8Array {
  const indices = new Uint8Array(width * height);
  let [to, x] = [0, 0];
  while (to < indices.length && at + 1 < bytes.length) {
    const [count, value] = [bytes[at]!, bytes[at + 1]!];
    at += 2;
    if (count > 0) {
      // A run ends with its row.
      const run = Math.min(count, Math.max(0, width - x));
      for (let i = 0; i < run && to < indices.length; i++) {
        indices[to++] = nibbles ? (i % 2 === 0 ? value >> 4 : value & 15) : value;
      }
      x += run;
    } else if (value === END_OF_LINE) {
      to = Math.ceil(to / width) * width;
      x = 0;
    } else if (value === END_OF_BITMAP) break;
    else if (value === DELTA) {
      if (at + 1 >= bytes.length) break;
      to = Math.min(indices.length, to + bytes[at]! + bytes[at + 1]! * width);
      at += 2;
      x = to % width;
    } else {
      const size = nibbles ? Math.ceil(value / 2) : value;
      for (let i = 0; i < value && to < indices.length && at + size <= bytes.length; i++) {
        const byte = bytes[at + (nibbles ? i >> 1 : i)]!;
        indices[to++] = nibbles ? (i % 2 === 0 ? byte >> 4 : byte & 15) : byte;
      }
      if (at + size > bytes.length) break;
      at += size + ((at + size) % 2);
      x += value;
    }
  }
  if (to < indices.length) throw new Error(`it has ${to} of ${indices.length} pixels`);
  return indices;
}

const [END_OF_LINE, END_OF_BITMAP, DELTA] = [0, 1, 2];
