import { readFileSync } from "node:fs";
import path from "node:path";
import { inflateSync } from "node:zlib";

import type { RawImage } from "../../../../src/input/image/decode.js";
import { fixtures } from "../../../parity/reference.js";

const folder = path.join(fixtures, "pictures");

/** The path of a picture among the fixtures. */
export const pictureFile = (name: string): string => path.join(folder, name);

/** Every fixture, and its frames as Pillow shows them. */
export function pillowsPictures(): { name: string; frames: RawImage[] }[] {
  const records = JSON.parse(readFileSync(path.join(folder, "pictures.json"), "utf8")) as Record<
    string,
    [width: number, height: number, packed: string][]
  >;
  return Object.entries(records).map(([name, frames]) => ({
    name,
    frames: frames.map(([width, height, packed]) => ({
      width,
      height,
      data: new Uint8Array(inflateSync(Buffer.from(packed, "base64"))),
    })),
  }));
}

/** Where a picture differs from what is expected; null where they are equal to the byte. */
export function difference(actual: RawImage, expected: RawImage): string | null {
  const sizes = [actual, expected].map(({ width, height }) => `${width} x ${height}`);
  if (sizes[0] !== sizes[1]) return `${sizes[0]} for ${sizes[1]}`;
  const at = actual.data.findIndex((value, i) => value !== expected.data[i]);
  if (at < 0 && actual.data.length === expected.data.length) return null;
  const pixel = Math.floor(at / 3);
  const [x, y] = [pixel % expected.width, Math.floor(pixel / expected.width)];
  return `${actual.data[at]} for ${expected.data[at]} in channel ${at % 3} of pixel ${x}, ${y}`;
}
