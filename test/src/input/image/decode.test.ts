import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { InputError } from "../../../../src/base/errors.js";
import { decodeImage, MAX_IMAGE_PIXELS } from "../../../../src/input/image/decode.js";
import { resize, type ResizeFilter } from "../../../../src/input/resize/resize.js";

type Reference = { mode: string; width: number; height: number; rgb: string; resized: Record<string, string> };

const folder = fileURLToPath(new URL("../../../fixtures/processor/", import.meta.url));
const references = JSON.parse(readFileSync(join(folder, "images.json"), "utf8")) as Record<string, Reference>;
const pathOf = (name: string): string => join(folder, "images", name);
const sha256 = (data: Uint8Array): string => createHash("sha256").update(data).digest("hex");

describe("decodeImage", () => {
  for (const [name, reference] of Object.entries(references)) {
    it(`${name} (mode ${reference.mode}) becomes RGB as Pillow makes it`, async () => {
      const image = await decodeImage(pathOf(name));
      assert.deepEqual([image.width, image.height], [reference.width, reference.height]);
      assert.deepEqual(Buffer.from(image.data), Buffer.from(reference.rgb, "base64"));
    });
  }

  it("every picture resized to 28, 42 and 56 equals Pillow to the byte, with both filters", async () => {
    for (const [name, { resized }] of Object.entries(references)) {
      const image = await decodeImage(pathOf(name));
      for (const [key, expected] of Object.entries(resized)) {
        const [size, ...filter] = key.split("-");
        const result = resize(image, Number(size), Number(size), filter.join("-") as ResizeFilter);
        assert.equal(sha256(result.data), expected, `${name} to ${key}`);
      }
    }
  });

  it("bytes, an ArrayBuffer and a part of a larger buffer decode like the path", async () => {
    const expected = await decodeImage(pathOf("rgb.png"));
    const bytes = new Uint8Array(readFileSync(pathOf("rgb.png")));
    const padded = new Uint8Array(bytes.length + 20);
    padded.set(bytes, 7);
    for (const input of [bytes, bytes.slice().buffer, padded.subarray(7, 7 + bytes.length)]) {
      assert.deepEqual(await decodeImage(input), expected);
    }
  });

  it("RGB that is decoded already is returned as it is", async () => {
    const image = { data: new Uint8Array(2 * 3 * 3), width: 2, height: 3 };
    assert.equal(await decodeImage(image), image);
  });
});

describe("decodeImage refuses, in one sentence that names the file,", () => {
  let place: string;
  before(() => (place = mkdtempSync(join(tmpdir(), "paligemma-image-"))));
  after(() => rmSync(place, { recursive: true }));

  const refuses = async (input: Parameters<typeof decodeImage>[0], ...patterns: RegExp[]): Promise<void> => {
    const error = await decodeImage(input, "image 2").then(
      () => assert.fail("no error"),
      (reason: unknown) => reason,
    );
    assert.ok(error instanceof InputError, String(error));
    for (const pattern of patterns) assert.match(error.message, pattern);
    assert.ok(!error.message.includes("\n"), error.message);
  };
  const file = (name: string, content: Uint8Array | string): string => {
    writeFileSync(join(place, name), content);
    return join(place, name);
  };

  it("a file that is not there", () => refuses(join(place, "absent.png"), /absent\.png: there is no such image file/));
  it("a folder", () => refuses(place, /paligemma-image-\w+: this is a folder/));
  it("an empty file", () => refuses(file("empty.jpg", ""), /empty\.jpg: the image is empty/));
  it("bytes of no kind, with the formats that are read", () =>
    refuses(
      file("notes.png", new Uint8Array([200, 1, 2, 3, 4])),
      /notes\.png: not an image .* JPEG, PNG, WebP, TIFF, GIF, AVIF, BMP and PNM \(PPM, PGM, PBM\), got bytes c801020304/,
    ));

  for (const name of ["rgb.png", "rgb.jpg", "rgb.tiff", "lossless.webp", "two-frames.gif", "rgb.avif", "cmyk.jpg"]) {
    it(`a truncated ${name}`, async () => {
      const bytes = readFileSync(pathOf(name));
      // Of a GIF only the first frame is read, so that a cut in the second does not matter.
      for (const part of name.endsWith(".gif") ? [0.2, 0.4] : [0.2, 0.6]) {
        const path = file(`cut-${name}`, bytes.subarray(0, Math.ceil(bytes.length * part)));
        await refuses(path, /cut-.*: the image is truncated or damaged \(.+\); replace the file/);
      }
    });
  }

  it("a PNG whose checksum is wrong", async () => {
    const bytes = new Uint8Array(readFileSync(pathOf("rgb.png")));
    bytes[bytes.length - 30] ^= 0xff;
    await refuses(bytes, /^image 2: the image is truncated or damaged/);
  });

  it("a header that claims more pixels than the limit", async () => {
    const bytes = Buffer.from(readFileSync(pathOf("rgb.png")));
    bytes.writeUInt32BE(20000, 16);
    bytes.writeUInt32BE(20000, 20);
    bytes.writeUInt32BE(crc32(bytes.subarray(12, 29)), 29);
    await refuses(bytes, /^image 2: the image claims 20000 x 20000 pixels/, new RegExp(String(MAX_IMAGE_PIXELS)));
  });

  it("RGB whose length does not fit its size", () =>
    refuses(
      { data: new Uint8Array(16), width: 2, height: 2 },
      /image 2: expected .* 2 x 2 x 3 = 12 RGB bytes, got 16/,
    ));
  it("RGB without a size", () =>
    refuses(
      { data: new Uint8Array(0), width: 0, height: 2 },
      /image 2: width and height must be positive integers, got 0 x 2/,
    ));
  it("something else altogether", () => refuses(42 as unknown as string, /image 2: expected a path.*got number/));
});

/** The checksum of PNG chunks, so that a forged header is refused for its size alone. */
function crc32(bytes: Uint8Array): number {
  let crc = ~0;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (crc & 1 ? 0xedb88320 : 0);
  }
  return ~crc >>> 0;
}
