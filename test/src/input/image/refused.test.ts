import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { deflateSync } from "node:zlib";

import { crc32 } from "../../../../weights/crc32.js";
import { InputError } from "../../../../src/base/errors.js";
import { countFrames, decodeFrames, decodeImage } from "../../../../src/input/image/decode.js";
import { videoFrames } from "../../../../src/answering/video.js";
import { pictureFile } from "./pictures.js";

const bytes = (...parts: (string | number[] | Uint8Array)[]): Buffer =>
  Buffer.concat(parts.map((part) => (typeof part === "string" ? Buffer.from(part, "latin1") : Buffer.from(part))));

/** The message of the refusal, which must be one sentence of an `InputError` that speaks of no damage. */
async function refusal(input: Uint8Array): Promise<string> {
  const error = await decodeImage(input, "image 2").then(
    () => assert.fail("it is read"),
    (reason: unknown) => reason,
  );
  assert.ok(error instanceof InputError, String(error));
  assert.match(error.message, /^image 2: /);
  assert.doesNotMatch(error.message, /damaged|truncated|\n/);
  return error.message;
}

/** A box of an ISO media file. */
const box = (kind: string, ...parts: (string | number[] | Uint8Array)[]): Buffer => {
  const body = bytes(...parts);
  const head = Buffer.alloc(8);
  head.writeUInt32BE(8 + body.length);
  head.write(kind, 4, "latin1");
  return bytes(head, body);
};

/** A HEIF file with the brands, the first of them the major one, and one item of a type. */
const heif = (brands: string[], type: string): Buffer =>
  bytes(
    box("ftyp", brands[0]!, [0, 0, 0, 0], ...brands.slice(1)),
    box(
      "meta",
      [0, 0, 0, 0],
      box("hdlr", [0, 0, 0, 0, 0, 0, 0, 0], "pict", Buffer.alloc(13)),
      box("pitm", [0, 0, 0, 0, 0, 1]),
      box("iinf", [0, 0, 0, 0, 0, 1], box("infe", [2, 0, 0, 0, 0, 1, 0, 0], type, [0])),
    ),
  );

const filler = Buffer.alloc(64, 7);

const KINDS: [what: RegExp, file: Uint8Array][] = [
  ...["heic", "heix", "heim", "hevc", "hevx"].map((brand): [RegExp, Uint8Array] => [
    /a HEIC picture .* convert it to JPEG/,
    heif([brand, "mif1", brand], "hvc1"),
  ]),
  [/a HEIC picture/, heif(["mif1", "heic"], "hvc1")],
  [/a HEIC picture/, heif(["msf1", "hevc"], "hev1")],
  [/a HEIC picture/, bytes(box("ftyp", "heic", [0, 0, 0, 0], "mif1"), filler)],
  [/a HEIF picture with JPEG inside/, heif(["mif1", "jpeg"], "jpeg")],
  [/a HEIF picture with AVC inside/, heif(["mif1", "avci"], "avc1")],
  [/a video \(MP4\).*ffmpeg/, bytes(box("ftyp", "isom", [0, 0, 2, 0], "isomiso2avc1mp41"), filler)],
  [/a video \(QuickTime\)/, bytes(box("ftyp", "qt  ", [0, 0, 0, 0]), filler)],
  [/camera raw .*CR3/, bytes(box("ftyp", "crx ", [0, 0, 0, 1]), filler)],
  [/a video \(Matroska or WebM\)/, bytes([0x1a, 0x45, 0xdf, 0xa3], filler)],
  [/a video \(AVI\)/, bytes("RIFF", [9, 0, 0, 0], "AVI LIST", filler)],
  [/a sound \(WAV\)/, bytes("RIFF", [9, 0, 0, 0], "WAVEfmt ", filler)],
  [/a JPEG XL picture/, bytes([0xff, 0x0a], filler)],
  [/a JPEG XL picture/, bytes([0, 0, 0, 12], "JXL \r\n\x87\n", filler)],
  [/a JPEG 2000 picture/, bytes([0, 0, 0, 12], "jP  \r\n\x87\n", filler)],
  [/a JPEG 2000 picture/, bytes([0xff, 0x4f, 0xff, 0x51], filler)],
  [/a Photoshop document/, bytes("8BPS", filler)],
  [/a PDF document.*page/, bytes("%PDF-1.7\n", filler)],
  [/an SVG drawing/, bytes('<svg xmlns="http://www.w3.org/2000/svg" width="4" height="4"/>')],
  [/an SVG drawing/, bytes('<?xml version="1.0"?>\n<!-- made by hand -->\n<svg/>')],
  [/a web page/, bytes("\n<!DOCTYPE html><html><body>Not found</body></html>")],
  [/a Windows icon/, bytes([0, 0, 1, 0, 2, 0], filler)],
  [/a Windows cursor/, bytes([0, 0, 2, 0, 1, 0], filler)],
  [/a camera raw .*CR2/, bytes("II*\0", [16, 0, 0, 0], "CR\x02\0", filler)],
  [/a FITS picture/, bytes("SIMPLE  =                    T")],
  [/a Targa picture/, bytes([0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9, 0, 9, 0, 24, 0], filler)],
  [/a PAM picture/, bytes("P7\nWIDTH 1\nHEIGHT 1\n")],
  [/a Git LFS pointer.*git lfs pull/, bytes("version https://git-lfs.github.com/spec/v1\noid sha256:00\n")],
  [/a ZIP archive/, bytes("PK\x03\x04", filler)],
  [/a NumPy array.*RGB/, bytes("\x93NUMPY\x01\0", filler)],
  [/a picture in base64.*Buffer\.from/, bytes("iVBORw0KGgoAAAANSUhEUgAAAAEAAAAB".repeat(30))],
  [/a text file/, bytes("hello")],
];

describe("a file that is no picture, or one that is not read, is refused for what it is", () => {
  for (const [what, file] of KINDS) {
    it(String(what), async () => {
      const message = await refusal(file);
      assert.match(message, what);
      assert.match(message, /not read as a picture; .+\. Read are JPEG, PNG, WebP, TIFF, GIF, AVIF, BMP and PNM/);
      assert.ok(message.length < 330, `${message.length} characters`);
    });
  }
});

/** A TIFF of 4 x 2 pixels: tags as SHORT, one strip behind the directory. */
function tiff(changes: Record<number, number[]>): Buffer {
  const plain: Record<number, number[]> = {
    256: [4],
    257: [2],
    258: [8, 8, 8],
    259: [1],
    262: [2],
    273: [0],
    277: [3],
    279: [99],
  };
  const tags = Object.entries({ ...plain, ...changes }).map(([tag, values]) => ({ tag: Number(tag), values }));
  const end = 8 + 2 + 12 * tags.length + 4;
  const extra: number[] = [];
  const file = Buffer.alloc(end);
  file.write("II*\0", "latin1");
  file.writeUInt32LE(8, 4);
  file.writeUInt16LE(tags.length, 8);
  tags.forEach(({ tag, values }, i) => {
    const at = 10 + 12 * i;
    file.writeUInt16LE(tag, at);
    file.writeUInt16LE(3, at + 2);
    file.writeUInt32LE(values.length, at + 4);
    if (values.length > 2) {
      file.writeUInt32LE(end + 2 * extra.length, at + 8);
      extra.push(...values);
    } else values.forEach((value, k) => file.writeUInt16LE(value, at + 8 + 2 * k));
  });
  const more = Buffer.alloc(2 * extra.length);
  extra.forEach((value, i) => more.writeUInt16LE(value, 2 * i));
  const strip = tags.findIndex(({ tag }) => tag === 273);
  file.writeUInt16LE(end + more.length, 10 + 12 * strip + 8);
  return bytes(file, more, Buffer.alloc(200, 1));
}

describe("a TIFF of a kind that is not read is refused for it", () => {
  const cases: [what: RegExp, changes: Record<number, number[]>][] = [
    [/compression LZMA \(34925\)/, { 259: [34925] }],
    [/compression Zstandard/, { 259: [50000] }],
    [/compression old-style JPEG/, { 259: [6] }],
    [/compression JPEG 2000/, { 259: [33003] }],
    [/compression of an unknown kind \(4711\)/, { 259: [4711] }],
    [/CIE L\*a\*b\* photometric/, { 262: [8] }],
    [/colour filter array \(camera raw\)/, { 262: [32803], 277: [1], 258: [8] }],
    [/32-bit floating-point samples/, { 258: [32, 32, 32], 339: [3, 3, 3] }],
    [/64-bit unsigned samples/, { 262: [1], 277: [1], 258: [64] }],
    [/bits per sample that differ \(5, 6, 5\)/, { 258: [5, 6, 5] }],
    [/2 samples a pixel for 3 colours/, { 277: [2], 258: [8, 8] }],
    [/grey that is multiplied with its alpha/, { 262: [1], 277: [2], 258: [8, 8], 338: [1] }],
    [/predictor 3/, { 259: [8], 317: [3] }],
    [/chroma of 1 in 3 x 2/, { 262: [6], 530: [3, 2] }],
  ];
  for (const [what, changes] of cases) {
    it(String(what), async () => {
      const file = tiff(changes);
      // What deflate is to unpack must be right, so that the predictor is what stops it.
      if (changes[317]) file.set(deflateSync(Buffer.alloc(24)), file.length - 200);
      const message = await refusal(file);
      assert.match(message, what);
      assert.match(message, /is not read; convert it to an 8-bit RGB TIFF or a PNG/);
    });
  }

  it("and the same file without the change is read", async () => {
    assert.deepEqual(await decodeImage(tiff({})), { data: new Uint8Array(24).fill(1), width: 4, height: 2 });
  });
});

describe("a bitmap of a kind that is not read is refused for it", () => {
  const bitmap = (change: (file: Buffer) => void): Buffer => {
    const file = Buffer.from(readFileSync(pictureFile("colours-24.bmp")));
    change(file);
    return file;
  };
  const cases: [what: RegExp, file: Buffer][] = [
    [/2 bits a pixel/, bitmap((file) => file.writeUInt16LE(2, 28))],
    [/compression JPEG/, bitmap((file) => file.writeUInt32LE(4, 30))],
    [/a header of 16 bytes/, bitmap((file) => file.writeUInt32LE(16, 14))],
    [/run lengths of 24 bits/, bitmap((file) => file.writeUInt32LE(1, 30))],
    [/the masks .* of 24 bits/, bitmap((file) => file.writeUInt32LE(3, 30))],
  ];
  for (const [what, file] of cases) it(String(what), async () => assert.match(await refusal(file), what));
});

describe("a JPEG or PNG of a kind that is not read is refused for it", () => {
  const segment = (marker: number, ...body: number[]): number[] => [0xff, marker, 0, 2 + body.length, ...body];
  const jpeg = (marker: number, bits: number): Buffer =>
    bytes(
      [0xff, 0xd8],
      segment(0xc4, 0),
      segment(marker, bits, 0, 9, 0, 9, 1, 1, 0x11, 0),
      segment(0xda, 1, 1, 0, 0, 63, 0),
    );
  const png = readFileSync(pictureFile("grey8-key.png"));
  const apples = bytes(png.subarray(0, 8), [0, 0, 0, 4], "CgBI", [0x50, 0, 0x20, 2, 0, 0, 0, 0], png.subarray(8));
  const cases: [what: RegExp, file: Buffer][] = [
    [/a JPEG of 12 bits a sample is not read; convert it/, jpeg(0xc1, 12)],
    [/a lossless JPEG/, jpeg(0xc3, 16)],
    [/a JPEG-LS picture is not read/, jpeg(0xf7, 8)],
    [/a PNG in Apple's own form \(CgBI\)/, apples],
  ];
  for (const [what, file] of cases) it(String(what), async () => assert.match(await refusal(file), what));
});

describe("frames that are not read are an error, never another frame", () => {
  /** An animated PNG of three frames, with what makes it one before its pixels, and two frames behind them. */
  const animated = (name: string): Buffer => {
    const png = readFileSync(pictureFile(name));
    const chunk = (kind: string, body: Uint8Array): Buffer => {
      const [head, tail] = [Buffer.alloc(8), Buffer.alloc(4)];
      head.writeUInt32BE(body.length);
      head.write(kind, 4, "latin1");
      tail.writeUInt32BE(crc32(bytes(kind, body)));
      return bytes(head, body, tail);
    };
    const control = Buffer.alloc(26);
    [png.readUInt32BE(16), png.readUInt32BE(20)].forEach((side, i) => control.writeUInt32BE(side, 4 + 4 * i));
    const frame = bytes(chunk("fcTL", control), chunk("fdAT", bytes([0, 0, 0, 2], deflateSync(Buffer.alloc(9999)))));
    const before = bytes(chunk("acTL", Buffer.from([0, 0, 0, 3, 0, 0, 0, 0])), chunk("fcTL", control));
    return bytes(png.subarray(0, 33), before, png.subarray(33, -12), frame, frame, png.subarray(-12));
  };

  it("of an animated PNG whose frames Pillow lays over each other by no rule", async () => {
    const file = animated("grey16-key.png");
    assert.equal(await countFrames(file), 3);
    assert.deepEqual(await decodeImage(file), await decodeImage(pictureFile("grey16-key.png")));
    await assert.rejects(
      videoFrames(file, 3),
      /animated PNG with 16-bit grey only the first frame is read; give its frames/,
    );
    assert.equal((await videoFrames(file, 1)).length, 1);
  });

  it("of an animated PNG that ends early", async () => {
    const whole = readFileSync(pictureFile("animation-over.png"));
    const cut = whole.subarray(0, whole.lastIndexOf("fcTL") - 4);
    await assert.rejects(videoFrames(cut, 4), /truncated or damaged \(it has 3 frames\)/);
  });

  it("of an AVIF sequence", async () => {
    const file = pictureFile("sequence.avif");
    assert.equal(await countFrames(file), 2);
    await assert.rejects(videoFrames(file, 2), /AVIF sequence only the first frame is read; convert it to GIF/);
  });

  it("and frames that a file does not have", async () => {
    for (const name of ["frames-1-4.gif", "pages.tiff", "animation.webp"]) {
      await assert.rejects(decodeImage(pictureFile(name), "image", { frame: 9 }), InputError, name);
      await assert.rejects(decodeFrames(pictureFile(name), [0, 9]), InputError, name);
    }
  });
});

describe("what is cut off is called so, and never shown", () => {
  const whole = ["big-rgb.tiff", "ycbcr-2x2.tiff",  "interlaced.gif", "larger-than-its-screen.gif", "colours-24.bmp", "run-lengths-8.bmp", "packed-255.ppm", "plain-1000.pgm", "chroma-420.avif"]; // prettier-ignore
  const truncated = (input: Uint8Array): Promise<void> =>
    assert.rejects(decodeImage(input, "image 2"), (error: Error) => {
      assert.ok(error instanceof InputError && !error.message.includes("\n"), error.message);
      return /image 2: the image is truncated or damaged \(.+\); replace the file/.test(error.message);
    });

  for (const name of whole) {
    it(name, () => {
      const file = readFileSync(pictureFile(name));
      // These TIFF files keep their directory behind the pixels: what is packed is destroyed instead.
      return truncated(
        name.endsWith(".tiff") ? bytes(file).fill(0xff, 8, 40) : file.subarray(0, Math.floor(file.length * 0.7)),
      );
    });
  }
  it("a TIFF whose strip ends behind the file", () => truncated(tiff({}).subarray(0, -190)));
});
