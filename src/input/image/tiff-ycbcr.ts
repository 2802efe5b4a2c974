import type { RawImage } from "./raw-image.js";
import { readChunk } from "./tiff-chunks.js";
import { type TiffLayout, unsupportedTiff } from "./tiff-layout.js";
import { readSamples } from "./tiff-samples.js";
import { libtiffYCbCr, pillowYCbCr } from "./ycbcr.js";

/**
 * A page of YCbCr that is not JPEG inside. Chroma is repeated, as libtiff does it; what is stored plainly and whole is
 * converted by Pillow's own tables, everything else by the coefficients of the file. Throws as `readSamples` does.
 */
export function decodeYCbCr(file: Uint8Array, layout: TiffLayout): RawImage {
  const { width, height, compression, subsampling, planar } = layout;
  const [across, down] = subsampling;
  const whole = planar || (across === 1 && down === 1);
  if (!whole) return decodeUnits(file, layout);
  if (planar && (across !== 1 || down !== 1)) throw unsupportedTiff("YCbCr in separate planes of unequal size");
  const convert = compression === 1 ? pillowYCbCr() : libtiffYCbCr(layout.luma, layout.blackWhite);
  const samples = readSamples(file, layout);
  const data = new Uint8Array(width * height * 3);
  for (let at = 0; at < data.length; at += 3) convert(samples[at]!, samples[at + 1]!, samples[at + 2]!, data, at);
  return { data, width, height };
}

/** Subsampled pixels lie as units: the Y of `across` x `down` pixels, one Cb, one Cr. Source: TIFF 6.0, section 21. */
function decodeUnits(file: Uint8Array, layout: TiffLayout): RawImage {
  const { width, height, chunk } = layout;
  const [across, down] = layout.subsampling;
  if (![1, 2, 4].includes(across) || ![1, 2, 4].includes(down))
    throw unsupportedTiff(`chroma of 1 in ${across} x ${down}`);
  if (layout.predictor !== 1 && layout.compression !== 1 && layout.compression !== 32773) {
    throw unsupportedTiff(`subsampled YCbCr and predictor ${layout.predictor}`);
  }
  const convert = libtiffYCbCr(layout.luma, layout.blackWhite);
  const data = new Uint8Array(width * height * 3);
  const unit = across * down + 2;
  const unitsAcross = Math.ceil(chunk.width / across);
  for (let top = 0, index = 0; top < height; top += chunk.height) {
    for (let left = 0; left < width; left += chunk.width, index++) {
      const rows = chunk.tiled ? chunk.height : Math.min(chunk.height, height - top);
      const bytes = readChunk(file, layout, index, unitsAcross * Math.ceil(rows / down) * unit);
      for (let y = 0; y < Math.min(rows, height - top); y++) {
        for (let x = 0; x < Math.min(chunk.width, width - left); x++) {
          const at = (Math.floor(y / down) * unitsAcross + Math.floor(x / across)) * unit;
          const luma = bytes[at + (y % down) * across + (x % across)]!;
          convert(luma, bytes[at + unit - 2]!, bytes[at + unit - 1]!, data, ((top + y) * width + left + x) * 3);
        }
      }
    }
  }
  return { data, width, height };
}
