import assert from "node:assert/strict";

import fc from "fast-check";

import { InputError } from "../../../src/base/errors.js";
import { labelMap, type Mask, maskArea, maskIou } from "../../../src/masks/mask.js";
import { decodeRunLengths, encodeRunLengths, type RunLengths } from "../../../src/masks/run-lengths.js";
import { masked, segmentationCases } from "./cases.js";

describe("masks as COCO's run lengths", () => {
  const masks = segmentationCases.runLengths.map(({ size: [height, width], bits }): Mask => {
    return { data: masked(bits, width, height), width, height };
  });

  segmentationCases.runLengths.forEach(({ size, counts, text, iou }, i) => {
    it(`${size.join(" x ")}: ${text.slice(0, 20)} equals pycocotools, there and back`, () => {
      assert.deepEqual(encodeRunLengths(masks[i]), { size, counts: text });
      assert.deepEqual(decodeRunLengths({ size, counts: text }), masks[i]);
      if (counts !== null) assert.deepEqual(encodeRunLengths(masks[i], { compressed: false }), { size, counts });
      if (iou !== null) assert.equal(maskIou(masks[i], masks[i - 1]), iou);
    });
  });

  it("come back as they went, whatever the mask", () => {
    const side = fc.integer({ min: 1, max: 40 });
    const anyMask = fc.tuple(side, side, fc.integer(), fc.double({ min: 0, max: 1 })).chain(([width, height]) => {
      const runs = fc.array(fc.tuple(fc.boolean(), fc.integer({ min: 1, max: width * height })), { maxLength: 60 });
      return runs.map((pieces): Mask => {
        const data = new Uint8Array(width * height);
        let at = 0;
        for (const [inside, length] of pieces) data.fill(inside ? 255 : 0, at, (at += length % 50));
        return { data, width, height };
      });
    });
    fc.assert(
      fc.property(anyMask, fc.boolean(), (mask, compressed) => {
        const runs = encodeRunLengths(mask, { compressed });
        assert.deepEqual(decodeRunLengths(JSON.parse(JSON.stringify(runs)) as RunLengths), mask);
      }),
      { numRuns: 500, seed: 2 },
    );
  });

  it("damaged ones are refused, and any text ends", () => {
    const wrong: [unknown, RegExp][] = [
      [{ size: [2, 3], counts: [4, 3] }, /2\. run is 3, which does not fit 6 pixels/],
      [{ size: [2, 3], counts: [4] }, /runs have 4/],
      [{ size: [2, 3], counts: [1, -1, 6] }, /2\. run is -1/],
      [{ size: [2, 3], counts: "0" }, /runs have 0/],
      [{ size: [2, 3], counts: "P" }, /damaged/],
      [{ size: [2, 3], counts: "é" }, /damaged/],
      [{ size: [2, 3], counts: "ooooooooo" }, /damaged/],
      [{ size: [0, 3], counts: [] }, /expected a size/],
      [{ size: [1e9, 1e9], counts: [] }, /expected a size/],
      [{ counts: [] }, /expected a size/],
    ];
    for (const [runs, message] of wrong) {
      assert.throws(
        () => decodeRunLengths(runs as RunLengths),
        (error: Error) => error instanceof InputError && message.test(error.message),
        JSON.stringify(runs),
      );
    }
    fc.assert(
      fc.property(fc.string(), (counts) => {
        try {
          decodeRunLengths({ size: [5, 7], counts });
        } catch (error) {
          assert.ok(error instanceof InputError, String(error));
        }
      }),
      { numRuns: 2000, seed: 3 },
    );
  });
});

describe("masks compared and joined", () => {
  const mask = (text: string): Mask => {
    const rows = text.split("\n");
    const data = Uint8Array.from(rows.join(""), (letter) => ({ ".": 0, "-": 127, "+": 128, "#": 255 })[letter]!);
    return { data, width: rows[0].length, height: rows.length };
  };

  it("a soft value is inside above 127", () => {
    assert.equal(maskArea(mask(".-+#")), 2);
    assert.equal(maskIou(mask(".-+#"), mask("..#.")), 1 / 2);
    assert.equal(maskIou(mask("...."), mask("-...")), 0);
    assert.throws(() => maskIou(mask("..."), mask(".\n.\n.")), /3 x 1 and 1 x 3 cannot be compared/);
  });

  it("of a label map, the later mask lies over the earlier one", () => {
    const size = { width: 3, height: 2 };
    assert.deepEqual([...labelMap([mask("##.\n+.."), mask(".#.\n.-#")], size).data], [1, 2, 0, 1, 0, 2]);
    assert.deepEqual([...labelMap([], size).data], [0, 0, 0, 0, 0, 0]);
    assert.throws(
      () => labelMap([mask("##")], size),
      /masks\[0\]: expected a mask of 3 x 2, received 2 bytes of 2 x 1/,
    );
    assert.throws(() => labelMap(new Array<Mask>(256).fill(mask("###\n###")), size), /at most 255/);
  });
});
