import assert from "node:assert/strict";

import fc from "fast-check";

import { pasteHard, pasteSoft, roundHalfToEven } from "../../../src/masks/paste.js";
import type { Box } from "../../../src/grammar/box.js";
import { bytes, floats, masked, segmentationCases } from "./cases.js";

const maps = segmentationCases.maps.map(floats);

describe("masks in pictures", () => {
  for (const { height, width, box, divisor, map, hard, soft } of segmentationCases.pastes) {
    it(`the box ${box.join(" ")} of a ${width} x ${height} picture holds what Pillow puts there, hard and soft`, () => {
      const size = { width, height };
      const expected = { data: masked(hard, width, height), ...size };
      assert.deepEqual(pasteHard(maps[map], box, size, divisor), expected);
      assert.deepEqual(pasteSoft(maps[map], box, size), { data: bytes(soft), ...size });
    });
  }

  it("by 1023 a soft mask lies where its box does, and a box the wrong way round is empty", () => {
    const inside = new Float32Array(64 * 64).fill(1);
    const size = { width: 1023, height: 1023 };
    const { data } = pasteSoft(inside, [700, 600, 900, 800], size, 1023);
    const first = data.findIndex((value) => value > 0);
    assert.deepEqual([Math.floor(first / 1023), first % 1023], [700, 600]);
    assert.equal(data.filter((value) => value > 0).length, 200 * 200);
    for (const paste of [pasteHard, pasteSoft]) {
      assert.ok(paste(inside, [900, 100, 300, 200], size).data.every((value) => value === 0));
    }
  });

  it("halves go to the even number", () => {
    const rounded = [0.5, 1.5, 2.5, 2.49, 2.51, 3, 0.49999999999999994].map(roundHalfToEven);
    assert.deepEqual(rounded, [0, 2, 2, 2, 3, 3, 0]);
  });

  it("a mask never leaves its box, whatever the box and the picture", () => {
    const location = fc.integer({ min: 0, max: 1023 });
    const side = fc.integer({ min: 1, max: 90 });
    const boxes = fc.tuple(location, location, location, location).map(([a, b, c, d]): Box => {
      return [Math.min(a, c), Math.min(b, d), Math.max(a, c), Math.max(b, d)];
    });
    const inside = new Float32Array(64 * 64).fill(1);
    fc.assert(
      fc.property(boxes, side, side, fc.constantFrom(1023, 1024), (box, width, height, divisor) => {
        for (const paste of [pasteHard, pasteSoft]) {
          const mask = paste(inside, box, { width, height }, divisor as 1023 | 1024);
          assert.equal(mask.data.length, width * height);
          const [y0, x0, y1, x1] = box;
          mask.data.forEach((value, at) => {
            const [x, y] = [at % width, Math.floor(at / width)];
            // A pixel of the mask is at most a pixel away from the box: corners are cut off or rounded.
            const near = (pixel: number, from: number, to: number, sides: number) =>
              pixel + 1 > (from / divisor) * sides - 1 && pixel < (to / divisor) * sides + 1;
            assert.ok(value === 0 || (near(x, x0, x1, width) && near(y, y0, y1, height)), `${x}, ${y} of ${box}`);
          });
        }
      }),
      { numRuns: 300, seed: 1 },
    );
  });
});
