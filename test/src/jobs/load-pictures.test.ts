import assert from "node:assert/strict";
import path from "node:path";

import type { AskedLine } from "../../../src/jobs/batch-lines.js";
import { readyGroup } from "../../../src/jobs/load-pictures.js";
import type { ProcessedPicture, Processor } from "../../../src/input/processor.js";

const line = (number: number, ...images: string[]): AskedLine => ({ id: String(number), number, prompt: "p", images });

/**
 * A processor that gives every file the same picture, and remembers what was read, and how much of it at a time. It
 * gives none before as many as `together` are asked for.
 */
function reader(picture: Partial<ProcessedPicture> = {}, together = 1) {
  const read: string[] = [];
  const waiting: (() => void)[] = [];
  let [now, most] = [0, 0];
  const readPicture = async (file: string): Promise<ProcessedPicture> => {
    read.push(file);
    most = Math.max(most, ++now);
    await new Promise<void>((resolve) => {
      waiting.push(resolve);
      if (waiting.length === together) for (const release of waiting.splice(0)) release();
    });
    now--;
    return { values: new Float32Array(12), bytes: null, size: { width: 5, height: 7 }, ...picture };
  };
  return { processor: { readPicture } as unknown as Processor, read, most: () => most };
}

describe("the pictures of a group", () => {
  it("are read once each, however often and however they are named, four at a time", async () => {
    const { processor, read, most } = reader({}, 4);
    const asked = [line(1, "a"), line(2, "./a", "b"), line(3, path.resolve("in", "a")), line(4, ..."cdefgh")];
    const ready = await readyGroup({ asked, refused: [] }, { folder: "in", processor });
    assert.deepEqual(
      read.sort(), // which of four is begun first, the file system says
      [..."abcdefgh"].map((name) => path.resolve("in", name)),
    );
    assert.equal(most(), 4);
    const [first, second, third] = ready.asked.map(({ pictures }) => pictures[0]!.image);
    assert.ok(first === second && second === third, "the model encodes a picture once only where it is one object");
  });

  it("are handed on as the model takes them, with the size that they had", async () => {
    const values = Float32Array.from({ length: 12 }, (_, i) => i / 6 - 1);
    const bytes = Uint8Array.from({ length: 12 }, (_, i) => i);
    const ready = async (picture: Partial<ProcessedPicture>) => {
      const { processor } = reader(picture);
      const { asked } = await readyGroup({ asked: [line(1, "a")], refused: [] }, { folder: "in", processor });
      return asked[0]!.pictures[0]!;
    };
    const size = { width: 5, height: 7 };
    assert.deepEqual(await ready({ values, bytes }), { image: { pixels: values, width: 2, height: 2 }, size });
    // A checkpoint with another mean: its values are no pixels in [-1, 1], and are made of the bytes again.
    const beyond = { values: values.map((value) => value + 0.5), bytes };
    assert.deepEqual(await ready(beyond), { image: { data: bytes, width: 2, height: 2 }, size });
  });
});
