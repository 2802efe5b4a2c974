import { strict as assert } from "node:assert";

import sharp from "sharp";

import { DecodingRoom, decodingRoom, NoRoomError } from "../../../src/input/decoding-room.js";
import { InputError } from "../../../src/base/errors.js";
import { decodeImage } from "../../../src/input/image/decode.js";

/** So many pixels take 1.8 GB. */
const LARGE = 200_000_000;

/** Work that ends when it is told to, and how much of it is under way. */
function pieces() {
  const ends: (() => void)[] = [];
  const begun: string[] = [];
  const work = (name: string) => () => {
    begun.push(name);
    return new Promise<string>((resolve) => ends.push(() => resolve(name)));
  };
  return { begun, ends, work };
}

const turn = () => new Promise((resolve) => setImmediate(resolve));

describe("room for decoding", () => {
  it("is given to as many pictures as fit, in their order, and to the next when one is done", async () => {
    const room = new DecodingRoom(() => 64e9);
    const { begun, ends, work } = pieces();
    const small = [room.decode(1e6, work("a")), room.decode(1e6, work("b"))];
    const large = [room.decode(LARGE, work("c")), room.decode(LARGE, work("d"))];
    const last = room.decode(10, work("e"));
    await turn();
    assert.deepEqual(begun, ["a", "b", "c"]);
    ends[0]!();
    await turn();
    assert.deepEqual(begun, ["a", "b", "c"]); // the second large one does not fit beside the first
    ends[2]!();
    await turn();
    assert.deepEqual(begun, ["a", "b", "c", "d", "e"]);
    for (const end of ends) end();
    assert.deepEqual(await Promise.all([...small, ...large, last]), ["a", "b", "c", "d", "e"]);
  });

  it("is refused where a picture alone does not fit, and the next is decoded", async () => {
    const room = new DecodingRoom(() => 1e9);
    await assert.rejects(
      room.decode(LARGE, async () => 1),
      (error: Error) =>
        error instanceof NoRoomError &&
        /^the image needs 1\.8 GB of memory to be decoded, available 1\.0 GB; shrink/.test(error.message),
    );
    assert.equal(await room.decode(10, async () => 2), 2);
  });

  it("is given back where decoding fails", async () => {
    const room = new DecodingRoom(() => 64e9);
    for (let i = 0; i < 3; i++) {
      await assert.rejects(
        room.decode(LARGE, async () => {
          throw new Error("damaged");
        }),
        /damaged/,
      );
    }
    assert.equal(await room.decode(LARGE, async () => 3), 3);
  });

  it("is asked for by every picture that is decoded, and its refusal names the file", async () => {
    const blank = { width: 40, height: 50, channels: 3, background: "red" } as const;
    const png = new Uint8Array(await sharp({ create: blank }).png().toBuffer());
    const { decode } = decodingRoom;
    const asked: number[] = [];
    decodingRoom.decode = (pixels) => {
      asked.push(pixels);
      return Promise.reject(new NoRoomError("the image needs more"));
    };
    try {
      const refused = (error: unknown) =>
        error instanceof InputError && error.message === "image 3: the image needs more";
      await assert.rejects(decodeImage(png, "image 3"), refused);
      assert.deepEqual(asked, [2000]);
    } finally {
      decodingRoom.decode = decode;
    }
  });

  it("keeps the memory of large pictures that are read at the same time below that of all of them", async () => {
    const side = 6000;
    const blank = { width: side, height: side, channels: 3, background: "red" } as const;
    const webp = new Uint8Array(await sharp({ create: blank }).webp({ effort: 0 }).toBuffer());
    const sizes = await Promise.all(Array.from({ length: 4 }, async () => (await decodeImage(webp)).data.length));
    assert.deepEqual(sizes, Array(4).fill(3 * side * side));
  });
});
