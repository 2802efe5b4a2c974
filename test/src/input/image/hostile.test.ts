import { strict as assert } from "node:assert";
import { readFileSync } from "node:fs";
import path from "node:path";
import { deflateSync } from "node:zlib";

import { countFrames, decodeImage } from "../../../../src/input/image/decode.js";
import { heldoutFolder } from "../../../heldout/heldout.js";
import sharp from "sharp";

const PNG = readFileSync(path.join(heldoutFolder, "0014.png"));

/** A TIFF of one grey page with these tags (type LONG), its data behind the directory. */
function tiff(tags: Record<number, number>, data: Uint8Array): Buffer {
  const entries = Object.entries(tags).map(([tag, value]) => [Number(tag), value] as const);
  const start = 8 + 2 + 12 * entries.length + 4;
  const file = Buffer.alloc(start);
  file.write("II*\0", "latin1");
  file.writeUInt32LE(8, 4);
  file.writeUInt16LE(entries.length, 8);
  entries.forEach(([tag, value], i) => {
    const at = 10 + 12 * i;
    file.writeUInt16LE(tag, at);
    file.writeUInt16LE(4, at + 2);
    file.writeUInt32LE(1, at + 4);
    file.writeUInt32LE(value === -1 ? start : value, at + 8);
  });
  return Buffer.concat([file, data]);
}

describe("a small picture file that asks for much", () => {
  it("has its directories counted without a look at the fields that all of them claim", async () => {
    const directories = 60_000;
    // Each directory begins four bytes behind the last, and claims 65535 fields; where the next one lies stands behind
    // these.
    const file = Buffer.alloc(8 + 4 * directories + 2 + 12 * 65_535 + 4, 0xff);
    file.write("II*\0", "latin1");
    file.writeUInt32LE(8, 4);
    const end = 2 + 12 * 65_535;
    for (let i = 0; i < directories; i++) {
      const next = 8 + 4 * i + end;
      if (next + 4 <= file.length) file.writeUInt32LE(i + 1 < directories ? 8 + 4 * (i + 1) : 0, next);
    }
    assert.equal(await countFrames(file), directories);
  });

  it("with a tile far larger than itself is refused for its size", async () => {
    const zeros = deflateSync(Buffer.alloc(1000));
    const tags = {
      256: 13,
      257: 9,
      258: 8,
      259: 8,
      262: 1,
      277: 1,
      322: 60_000,
      323: 50_000,
      324: -1,
      325: zeros.length,
    };
    await assert.rejects(decodeImage(tiff(tags, zeros)), /InputError: .*60000 x 50000 pixels/);
  });
});

describe("what is asked of a picture file", () => {
  it("is one of its frames: another number is an error that names it, whatever the format", async () => {
    const raw = sharp({ create: { width: 5, height: 3, channels: 3, background: "red" } });
    for (const bytes of [
      PNG,
      await raw.clone().jpeg().toBuffer(),
      await raw.clone().gif().toBuffer(),
      await raw.clone().tiff().toBuffer(),
    ]) {
      for (const frame of [-1, 0.5, NaN]) {
        await assert.rejects(decodeImage(bytes, "image", { frame }), /image: frame: expected a whole number >= 0/);
      }
      await assert.rejects(
        decodeImage(bytes, "image", { frame: 3 }),
        /image: frame: expected one of 1, counted from 0, received 3/,
      );
    }
  });

  it("is not repeated where it is base64, and blanks before an address are none of it", async () => {
    const base64 = PNG.toString("base64");
    await assert.rejects(decodeImage(base64), (error: Error) => {
      assert.match(error.message, /^image \(\d+ characters of text\): this is base64 and no path/);
      return !error.message.includes(base64.slice(0, 20));
    });
    for (const address of [`\n data:image/png;base64,${base64}`, `data:image/png;base64,${base64}#part`]) {
      assert.equal((await decodeImage(address)).width, 224);
    }
  });

  it("is refused for what it is: fax data in planes, lossless and hierarchical JPEG", async () => {
    const fax = { 256: 8, 257: 1, 258: 1, 259: 4, 262: 0, 273: -1, 277: 1, 278: 1, 279: 1, 284: 2 };
    await assert.rejects(decodeImage(tiff(fax, Buffer.from([0]))), /planes of fax or JPEG data/);
    const jpeg = await sharp(PNG).jpeg().toBuffer();
    const frame = jpeg.indexOf(Buffer.from([0xff, 0xc0]));
    for (const [marker, kind] of [
      [0xc3, /a lossless JPEG is not read/],
      [0xc5, /a hierarchical JPEG is not read/],
      [0xcf, /a hierarchical JPEG is not read/],
    ] as const) {
      jpeg[frame + 1] = marker;
      await assert.rejects(decodeImage(jpeg), kind);
    }
  });
});
