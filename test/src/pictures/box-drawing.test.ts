import assert from "node:assert/strict";

import { InputError } from "../../../src/base/errors.js";
import { drawBoxes } from "../../../src/pictures/box-drawing.js";
import { encodePng, toPng } from "../../../src/pictures/png.js";
import { pixelsOf } from "./pixels.js";

const [width, height] = [90, 60];
const grey = () => encodePng({ data: new Uint8Array(width * height * 3).fill(128), width, height });
const box = { left: 20, top: 30, right: 70, bottom: 50 };

describe("boxes over a picture", () => {
  it("are drawn in its own pixels, and leave what is inside as it was", async () => {
    const svg = drawBoxes({ png: await grey(), objects: [{ label: "cat", box, score: 0.5 }], title: "detect cat" });
    const { colourAt: at, width: drawn } = await pixelsOf(await toPng(svg));
    assert.equal(drawn, width);
    assert.deepEqual([...at(45, 42)], [128, 128, 128]);
    assert.deepEqual([...at(5, 55)], [128, 128, 128]);
    for (const [x, y] of [
      [20, 40],
      [69, 40],
      [45, 49],
    ]) {
      assert.notDeepEqual([...at(x, y)], [128, 128, 128], `${x}, ${y}`);
    }
  });
  it("have a colour for each label and the score beside it", async () => {
    const objects = ["cat", "dog", "cat"].map((label) => ({ label, box, score: 0.25 }));
    const svg = drawBoxes({ png: await grey(), objects, title: "" });
    assert.equal(new Set(svg.match(/#(?:0072b2|d55e00)/g)).size, 2);
    assert.match(svg, />cat 0\.25</);
  });
  it("escape what the model has written", async () => {
    const label = `</text><script>alert("x")</script>`;
    const svg = drawBoxes({ png: await grey(), objects: [{ label, box }], title: label });
    assert.ok(!svg.includes("<script"));
  });
  it("without an area, and pictures that are none, are errors", async () => {
    const png = await grey();
    assert.throws(
      () => drawBoxes({ png, objects: [{ label: "a", box: { ...box, right: 20 } }], title: "" }),
      InputError,
    );
    assert.throws(() => drawBoxes({ png: Uint8Array.of(1, 2), objects: [], title: "" }), InputError);
  });
});
