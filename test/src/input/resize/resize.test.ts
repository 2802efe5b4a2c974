import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import type { RawImage } from "../../../../src/input/image/decode.js";
import { resize } from "../../../../src/input/resize/resize.js";
import { resizeBilinearAntialias } from "../../../../src/input/resize/resize-tensorflow.js";

type Case = Record<"rgb" | "pillow-bicubic" | "pillow-bilinear" | "bilinear-antialias", string> &
  Record<"width" | "height" | "toWidth" | "toHeight", number>;

const cases = JSON.parse(
  readFileSync(new URL("../../../fixtures/processor/resize.json", import.meta.url), "utf8"),
) as Case[];
const bytes = (base64: string): Uint8Array => new Uint8Array(Buffer.from(base64, "base64"));
const imageOf = ({ rgb, width, height }: Case): RawImage => ({ data: bytes(rgb), width, height });

/** A seeded picture of any size, for properties that need no oracle. */
function noise(width: number, height: number): RawImage {
  const data = new Uint8Array(width * height * 3);
  let state = 12345;
  for (let i = 0; i < data.length; i++) data[i] = (state = (Math.imul(state, 1103515245) + 12345) >>> 0) >>> 24;
  return { data, width, height };
}

describe("resize", () => {
  for (const filter of ["pillow-bicubic", "pillow-bilinear"] as const) {
    for (const test of cases) {
      const { width, height, toWidth, toHeight } = test;
      it(`${filter} ${width}x${height} -> ${toWidth}x${toHeight} equals Pillow to the byte`, () => {
        const result = resize(imageOf(test), toWidth, toHeight, filter);
        assert.deepEqual([result.width, result.height], [toWidth, toHeight]);
        assert.deepEqual(result.data, bytes(test[filter]));
      });
    }
  }

  it("a size that does not change leaves the pixels alone", () => {
    const image = noise(31, 17);
    assert.deepEqual(resize(image, 31, 17, "pillow-bicubic").data, image.data);
  });

  it("a flat picture stays flat, whatever the scale", () => {
    for (const value of [0, 1, 127, 254, 255]) {
      const flat = { data: new Uint8Array(37 * 23 * 3).fill(value), width: 37, height: 23 };
      for (const [width, height] of [
        [5, 7],
        [90, 80],
        [14, 200],
      ]) {
        const { data } = resize(flat, width, height, "pillow-bicubic");
        assert.ok(
          data.every((byte) => byte === value),
          `${value} at ${width}x${height}`,
        );
      }
    }
  });

  it("the picture that is given is not written to", () => {
    const image = noise(40, 30);
    const before = image.data.slice();
    resize(image, 14, 14, "pillow-bicubic");
    resizeBilinearAntialias(image, 14, 14);
    assert.deepEqual(image.data, before);
  });

  it("a 12-megapixel photograph is resized fast", () => {
    const image = noise(4000, 3000);
    const start = performance.now();
    resize(image, 448, 448, "pillow-bicubic");
    const elapsed = performance.now() - start;
    // Measured at 0.4 s on two shared cores; the limit allows for a busy machine and still catches a slow loop.
    assert.ok(elapsed < 3000, `${elapsed.toFixed(0)} ms`);
  });
});
