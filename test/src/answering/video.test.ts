import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";

import sharp from "sharp";

import { InputError } from "../../../src/base/errors.js";
import { countFrames, decodeImage } from "../../../src/input/image/decode.js";
import { frameIndices, videoFrames } from "../../../src/answering/video.js";

const [W, H] = [12, 10];
/**
 * Frame i is one grey of 40 · i, but for its left column, which is that of frame 0: frames may be stored as
 * differences.
 */
const frame = (i: number) =>
  Uint8Array.from({ length: W * H * 3 }, (_, at) => (Math.floor(at / 3) % W === 0 ? 200 : 40 * i));

const animation = (count: number, format: "gif" | "webp"): Promise<Buffer> => {
  const raw = { width: W, height: H * count, channels: 3 as const, pageHeight: H };
  const stacked = sharp(Buffer.concat(Array.from({ length: count }, (_, i) => frame(i))), { raw });
  return format === "gif"
    ? stacked.gif({ delay: 20 }).toBuffer()
    : stacked.webp({ lossless: true, delay: 20 }).toBuffer();
};

describe("frames of a video", () => {
  it("are evenly spaced from the first, and a short video is repeated as a whole", () => {
    assert.deepEqual(frameIndices(10, 4), [0, 2, 5, 7]);
    assert.deepEqual(frameIndices(4, 4), [0, 1, 2, 3]);
    assert.deepEqual(frameIndices(3, 8), [0, 1, 2, 0, 1, 2, 0, 1]);
    assert.deepEqual(frameIndices(5, 1), [0]);
  });

  for (const format of ["gif", "webp"] as const) {
    it(`come whole out of an animated ${format}`, async () => {
      const bytes = await animation(5, format);
      assert.equal(await countFrames(bytes), 5);
      const frames = await videoFrames(bytes, 3);
      assert.deepEqual(
        frames.map(({ width, height }) => [width, height]),
        [
          [W, H],
          [W, H],
          [W, H],
        ],
      );
      [0, 1, 3].forEach((at, i) => {
        const expected = frame(at);
        const worst = Math.max(...frames[i].data.map((value, byte) => Math.abs(value - expected[byte])));
        assert.ok(worst <= 8, `frame ${at} is ${worst} off`);
      });
      assert.deepEqual((await decodeImage(bytes)).data, frames[0].data, "a picture is its first frame");
    });
  }

  it("come from files in their order, and each file is read once", async () => {
    const folder = mkdtempSync(path.join(tmpdir(), "paligemma-frames-"));
    const files = [];
    for (const i of [0, 1, 2]) {
      const file = path.join(folder, `${i}.png`);
      writeFileSync(
        file,
        await sharp(frame(i), { raw: { width: W, height: H, channels: 3 } })
          .png()
          .toBuffer(),
      );
      files.push(file);
    }
    const frames = await videoFrames(files, 5);
    assert.deepEqual(
      frames.map(({ data }) => data[5]),
      [0, 40, 80, 0, 40],
    );
    assert.equal(frames[0], frames[3]);
    rmSync(folder, { recursive: true });
  });

  it("an empty video, a count of none and a file that is none are errors", async () => {
    await assert.rejects(videoFrames([], 2), InputError);
    await assert.rejects(videoFrames(await animation(2, "gif"), 0), InputError);
    await assert.rejects(videoFrames(new Uint8Array([1, 2, 3]), 1), InputError);
    const cut = (await animation(3, "webp")).subarray(0, 60);
    await assert.rejects(videoFrames(cut, 3), InputError);
  });
});
