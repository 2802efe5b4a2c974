import assert from "node:assert/strict";

import sharp from "sharp";

import { InputError } from "../../../src/base/errors.js";
import type { Mask } from "../../../src/masks/mask.js";
import { encodeGreyPng, encodePng, toPng } from "../../../src/pictures/png.js";
import { drawSegmentations } from "../../../src/pictures/segmentation-drawing.js";
import { pixelsOf } from "./pixels.js";

const [width, height] = [90, 60];
const grey = () => encodePng({ data: new Uint8Array(width * height * 3).fill(128), width, height });
const box = { left: 10, top: 20, right: 80, bottom: 58 };

/** 255 in columns 30 to 49 of rows 30 to 49. */
const square: Mask = {
  data: Uint8Array.from({ length: width * height }, (_, i) =>
    i % width >= 30 && i % width < 50 && i >= 30 * width && i < 50 * width ? 255 : 0,
  ),
  width,
  height,
};

describe("masks over a picture", () => {
  it("tint what is inside, with a rim, and leave the rest as it was", async () => {
    const svg = await drawSegmentations({
      png: await grey(),
      objects: [{ label: "cat", box, mask: square }],
      title: "",
    });
    const { colourAt } = await pixelsOf(await toPng(svg));
    const [inside, rim, outside] = [colourAt(40, 40), colourAt(30, 40), colourAt(60, 40)];
    assert.deepEqual([...outside], [128, 128, 128]);
    assert.ok(inside[2] > 130 && inside[0] < 110 && inside[0] > 50, `blue, and the picture shows: ${inside}`);
    assert.ok(rim[0] < 5 && rim[2] > 170, `${rim}`);
    assert.deepEqual([...colourAt(29, 40)], [128, 128, 128]);
  });

  it("need no other file, and have the colours of their labels", async () => {
    const objects = ["cat", "dog", "cat"].map((label) => ({ label, box, mask: square }));
    const svg = await drawSegmentations({ png: await grey(), objects, title: "segment cat ; dog" });
    const links = [...svg.matchAll(/href="([^"]{0,22})/g)].map((match) => match[1]);
    assert.deepEqual(links, new Array(4).fill("data:image/png;base64,"));
    const files = [...svg.matchAll(/base64,([^"]+)/g)].map((match) => match[1]);
    assert.equal(files[1], files[3]);
    assert.notEqual(files[1], files[2]);
  });

  it("an object without a mask is its box alone, and a soft mask fades", async () => {
    const faint: Mask = { ...square, data: square.data.map((value) => value / 4) };
    const svg = await drawSegmentations({ png: await grey(), objects: [{ label: "a", box, mask: null }], title: "" });
    assert.equal(svg.match(/<image/g)!.length, 1);
    const soft = await drawSegmentations({ png: await grey(), objects: [{ label: "a", box, mask: faint }], title: "" });
    const [red] = (await pixelsOf(await toPng(soft))).colourAt(40, 40);
    assert.ok(red > 105 && red < 128, String(red));
  });

  it("masks of another size are errors", async () => {
    const mask = { ...square, width: height, height: width };
    const data = { png: await grey(), objects: [{ label: "a", box, mask }], title: "" };
    await assert.rejects(drawSegmentations(data), (error: Error) => {
      return error instanceof InputError && /objects\[0\]\.mask: expected a mask of 90 x 60/.test(error.message);
    });
  });

  it("a mask as a PNG file has one channel and its own values", async () => {
    const data = Uint8Array.from({ length: 12 }, (_, i) => 20 * i);
    const file = await encodeGreyPng({ data, width: 4, height: 3 });
    const { channels, space } = await sharp(file).metadata();
    assert.deepEqual([channels, space], [1, "b-w"]);
    assert.deepEqual([...(await sharp(file).toColourspace("b-w").raw().toBuffer())], [...data]);
  });
});
