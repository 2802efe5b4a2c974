import { colourTable } from "./colour-map.js";
import type { ReportData } from "./report-data.js";
import { pictureUri, pngSize } from "./seen-picture.js";

/** What the page of a report reads: the report as JSON, numbers in base64, pictures as data URIs. */
export type PageData = Omit<ReportData, "pictures" | "attention"> & {
  pictures: PagePicture[];
  /** `values`: base64 of float32, little-endian. */
  attention: Omit<ReportData["attention"], "values"> & { values: string };
  /** The sequential colour map: base64 of 256 x 3 bytes. */
  colours: string;
};

/** A picture of the page: where it is, its size as the model saw it, and the size that it had. */
export type PagePicture = {
  uri: string;
  seenSize: { width: number; height: number };
  originalSize: { width: number; height: number };
};

/** A checked report as its page reads it. */
export function pageDataOf(data: ReportData): PageData {
  const { pictures, attention, ...rest } = data;
  return {
    ...rest,
    pictures: pictures.map((picture) => ({
      uri: pictureUri(picture, "picture"),
      seenSize: pngSize(picture.png, "picture"),
      originalSize: picture.originalSize,
    })),
    attention: { ...attention, queries: [...attention.queries], values: float32Base64(attention.values) },
    colours: Buffer.from(colourTable("sequential")).toString("base64"),
  };
}

/** Float32 numbers, little-endian on every machine, in base64. */
export function float32Base64(values: Float32Array): string {
  const bytes = Buffer.alloc(4 * values.length);
  values.forEach((value, i) => bytes.writeFloatLE(value, 4 * i));
  return bytes.toString("base64");
}

/**
 * JSON that can stand inside of a script element: nothing in it closes the element, opens a comment or turns a line.
 */
export function scriptJson(value: unknown): string {
  const unsafe = /[<>&\p{Zl}\p{Zp}\p{Bidi_Control}]/gu;
  return JSON.stringify(value).replace(unsafe, (sign) => `\\u${sign.charCodeAt(0).toString(16).padStart(4, "0")}`);
}
