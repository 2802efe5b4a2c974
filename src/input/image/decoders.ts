import { avif } from "./avif.js";
import { bmp } from "./bmp.js";
import type { Decoder } from "./decoder.js";
import type { PictureFormat } from "./file-kind.js";
import { gif } from "./gif.js";
import { jpeg } from "./jpeg.js";
import { png } from "./png.js";
import { pnm } from "./pnm.js";
import { tiff } from "./tiff.js";
import { webp } from "./webp.js";

/** What reads each format. */
export const DECODERS: Readonly<Record<PictureFormat, Decoder>> = {
  ...{ JPEG: jpeg, PNG: png, WebP: webp, TIFF: tiff, GIF: gif, AVIF: avif, BMP: bmp, PNM: pnm },
};
