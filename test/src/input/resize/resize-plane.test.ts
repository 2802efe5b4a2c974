import assert from "node:assert/strict";

import { resizeFloats, resizeGrey } from "../../../../src/input/resize/resize-plane.js";
import { bytes, floats, segmentationCases } from "../../masks/cases.js";

describe("resizing one plane", () => {
  for (const one of segmentationCases.resizes) {
    const { width, height, toWidth, toHeight } = one;
    for (const filter of ["bilinear", "bicubic"] as const) {
      it(`${width} x ${height} -> ${toWidth} x ${toHeight} ${filter} equals Pillow's mode F to the bit, and its mode L to the byte`, () => {
        const given = floats(one.floats);
        const result = resizeFloats({ data: given, width, height }, toWidth, toHeight, `pillow-${filter}`);
        assert.deepEqual([result.width, result.height], [toWidth, toHeight]);
        assert.deepEqual(result.data, floats(one[`F ${filter}`]));
        const grey = resizeGrey({ data: bytes(one.bytes), width, height }, toWidth, toHeight, `pillow-${filter}`);
        assert.deepEqual(grey, { data: bytes(one[`L ${filter}`]), width: toWidth, height: toHeight });
        assert.deepEqual(given, floats(one.floats), "what is given is not written to");
      });
    }
  }
});
