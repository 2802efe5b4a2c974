import { isUnpackable, readChunk } from "./tiff-chunks.js";
import { type TiffLayout, unsupportedTiff } from "./tiff-layout.js";

/** Numbers of a page, pixel by pixel: `samples[(y * width + x) * layout.samples + s]`. */
export type Samples = Uint8Array | Uint16Array | Int8Array | Int16Array | Int32Array | Float32Array;

/** Reads number `i` of a row that begins at byte `row`. */
type Reader = (view: DataView, row: number, i: number, little: boolean) => number;

/**
 * All samples of a page that is not subsampled. Throws `UnsupportedPicture` for sizes of samples that are not read, and
 * an `Error` where strips or tiles are cut off.
 */
export function readSamples(file: Uint8Array, layout: TiffLayout): Samples {
  const { width, height, samples, planar, chunk } = layout;
  const output = arrayFor(layout, width * height * samples);
  const read = readerFor(layout);
  const inChunk = planar ? 1 : samples;
  const [across, down] = [Math.ceil(width / chunk.width), Math.ceil(height / chunk.height)];
  for (let plane = 0, index = 0; plane < (planar ? samples : 1); plane++) {
    for (let top = 0; top < down * chunk.height; top += chunk.height) {
      for (let left = 0; left < across * chunk.width; left += chunk.width, index++) {
        const rows = chunk.tiled ? chunk.height : Math.min(chunk.height, height - top);
        const rowBytes = Math.ceil((chunk.width * inChunk * layout.bits) / 8);
        const bytes = undone(readChunk(file, layout, index, rows * rowBytes), layout, rowBytes);
        const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
        const columns = Math.min(chunk.width, width - left);
        for (let y = 0; y < Math.min(rows, height - top); y++) {
          const to = ((top + y) * width + left) * samples + plane;
          for (let x = 0, i = 0; x < columns; x++) {
            for (let s = 0; s < inChunk; s++, i++) {
              output[to + x * samples + s] = read(view, y * rowBytes, i, layout.littleEndian);
            }
          }
        }
      }
    }
  }
  return output;
}

function arrayFor({ bits, sampleFormat }: TiffLayout, length: number): Samples {
  if (bits <= 8) return sampleFormat === 2 ? new Int8Array(length) : new Uint8Array(length);
  if (bits <= 16) return sampleFormat === 2 ? new Int16Array(length) : new Uint16Array(length);
  if (sampleFormat === 3) return new Float32Array(length);
  return new Int32Array(length); // unsigned ones too: Pillow holds them in its mode I
}

function readerFor({ bits, sampleFormat }: TiffLayout): Reader {
  if (bits === 8) return (view, row, i) => view.getUint8(row + i);
  if (bits === 16) return (view, row, i, little) => view.getUint16(row + 2 * i, little);
  if (bits === 32 && sampleFormat === 3) return (view, row, i, little) => view.getFloat32(row + 4 * i, little);
  if (bits === 32) return (view, row, i, little) => view.getInt32(row + 4 * i, little);
  if (bits === 12) {
    return (view, row, i) => {
      const at = row + Math.floor((i * 3) / 2);
      const [first, second] = [view.getUint8(at), view.getUint8(at + 1)];
      return i % 2 === 0 ? (first << 4) | (second >> 4) : ((first & 15) << 8) | second;
    };
  }
  if (![1, 2, 4].includes(bits)) throw unsupportedTiff(`${bits} bits a sample`);
  const [perByte, mask] = [8 / bits, (1 << bits) - 1];
  return (view, row, i) => (view.getUint8(row + Math.floor(i / perByte)) >> (8 - bits * ((i % perByte) + 1))) & mask;
}

/**
 * Bytes with the differences of the predictor added up. Source: TIFF 6.0, section 14; it belongs to LZW and deflate
 * alone.
 */
function undone(bytes: Uint8Array, layout: TiffLayout, rowBytes: number): Uint8Array {
  const { predictor, compression, bits, samples, planar, littleEndian } = layout;
  if (predictor === 1 || compression === 1 || compression === 32773 || !isUnpackable(compression)) return bytes;
  if (predictor !== 2 || ![8, 16, 32].includes(bits)) throw unsupportedTiff(`predictor ${predictor} of ${bits} bits`);
  const sum = bytes.slice();
  const view = new DataView(sum.buffer);
  const [size, stride] = [bits / 8, (bits / 8) * (planar ? 1 : samples)];
  for (let row = 0; row + rowBytes <= sum.length; row += rowBytes) {
    for (let at = row + stride; at + size <= row + rowBytes; at += size) {
      if (size === 1) sum[at] = sum[at]! + sum[at - stride]!;
      else if (size === 2) {
        view.setUint16(at, view.getUint16(at, littleEndian) + view.getUint16(at - stride, littleEndian), littleEndian);
      } else {
        view.setInt32(at, view.getInt32(at, littleEndian) + view.getInt32(at - stride, littleEndian), littleEndian);
      }
    }
  }
  return sum;
}
