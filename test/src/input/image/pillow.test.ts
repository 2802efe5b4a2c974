import assert from "node:assert/strict";

import { countFrames, decodeFrames, decodeImage } from "../../../../src/input/image/decode.js";
import { videoFrames } from "../../../../src/answering/video.js";
import { difference, pictureFile, pillowsPictures } from "./pictures.js";

const pictures = pillowsPictures();

describe("a picture file is what Pillow shows, to the byte", () => {
  for (const { name, frames } of pictures) {
    it(name, async () => assert.equal(difference(await decodeImage(pictureFile(name)), frames[0]!), null));
  }
});

describe("every frame is what Pillow shows, to the byte", () => {
  for (const { name, frames } of pictures.filter(({ frames }) => frames.length > 1)) {
    it(`${name}, ${frames.length} frames`, async () => {
      const file = pictureFile(name);
      assert.equal(await countFrames(file), frames.length);
      const all = await decodeFrames(file, [...frames.keys()]);
      for (const [i, frame] of frames.entries()) {
        assert.equal(difference(await decodeImage(file, "image", { frame: i }), frame), null, `frame ${i}`);
        assert.equal(difference(all[i]!, frame), null, `frame ${i} among all`);
      }
    });
  }

  it("and so are the frames of a video, in their order", async () => {
    for (const name of ["frames-2-4.gif", "pages.tiff", "animation.webp"]) {
      const { frames } = pictures.find((picture) => picture.name === name)!;
      const taken = await videoFrames(pictureFile(name), 2 * frames.length);
      taken.forEach((frame, i) => assert.equal(difference(frame, frames[i % frames.length]!), null, `${name} ${i}`));
    }
  });
});
