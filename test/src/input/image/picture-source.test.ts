import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import path from "node:path";
import { pathToFileURL } from "node:url";

import { InputError } from "../../../../src/base/errors.js";
import { fetchPicture, MAX_FETCHED_BYTES } from "../../../../src/input/image/fetch-picture.js";
import { decodeImage, type ImageInput, type RawImage } from "../../../../src/input/image/decode.js";
import { PaliGemma } from "../../../../src/paligemma.js";
import { decodedPicture } from "../../../../src/answering/question.js";
import { videoFrames } from "../../../../src/answering/video.js";
import { pictureFile } from "./pictures.js";

const file = pictureFile("xmp-6.jpg");
const bytes = readFileSync(file);
const base64 = bytes.toString("base64");

type Source = Parameters<typeof decodeImage>[0];

async function refusal(input: unknown, ...patterns: RegExp[]): Promise<string> {
  const error = await decodeImage(input as Source, "image 2").then(
    () => assert.fail("it is read"),
    (reason: unknown) => reason,
  );
  assert.ok(error instanceof InputError, String(error));
  for (const pattern of patterns) assert.match(error.message, pattern);
  assert.ok(error.message.length < 400 && !error.message.includes("\n"), error.message);
  return error.message;
}

describe("a picture may be given as", () => {
  let expected: RawImage;
  before(async () => (expected = await decodeImage(file)));

  const shared = new SharedArrayBuffer(bytes.length);
  new Uint8Array(shared).set(bytes);
  const padded = new Uint8Array(bytes.length + 20);
  padded.set(bytes, 8);
  const forms: Record<string, () => Exclude<ImageInput, RawImage>> = {
    "a path": () => file,
    "a file: address": () => pathToFileURL(file).href,
    "a URL of a file": () => pathToFileURL(file),
    "a data: address": () => `data:image/jpeg;base64,${base64}`,
    "a URL of data": () => new URL(`data:image/jpeg;base64,${base64}`),
    "a data: address in base64 with escapes": () => `DATA:;charset=x;BASE64,${encodeURIComponent(base64)}`,
    "a data: address without base64": () =>
      `data:image/jpeg,${[...bytes].map((b) => `%${b.toString(16).padStart(2, "0")}`).join("")}`,
    "a Blob": () => new Blob([bytes], { type: "image/jpeg" }),
    "a Blob of another library": () => ({ size: bytes.length, arrayBuffer: async () => bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length) }) as Blob, // prettier-ignore
    "a Buffer": () => bytes,
    "an ArrayBuffer": () => Uint8Array.from(bytes).buffer,
    "shared memory": () => shared,
    "a view of shared memory": () => new Uint8Array(shared),
    "a DataView": () => new DataView(padded.buffer, 8, bytes.length),
    "a view of wider numbers": () => new Uint16Array(padded.buffer, 8, Math.ceil(bytes.length / 2)),
    "bytes that are clamped": () => new Uint8ClampedArray(bytes),
  };
  for (const [name, make] of Object.entries(forms)) {
    it(name, async () => assert.deepEqual(await decodeImage(make() as Source), expected));
  }

  it("an address with characters that a path escapes", async () => {
    const place = mkdtempSync(path.join(tmpdir(), "paligemma addresses-"));
    const odd = path.join(place, "50% #1 ü.jpg");
    writeFileSync(odd, bytes);
    assert.deepEqual(await decodeImage(pathToFileURL(odd)), expected);
    assert.deepEqual(await decodeImage(pathToFileURL(odd).href), expected);
    rmSync(place, { recursive: true });
  });
});

describe("what is given instead of a picture is refused for what it is:", () => {
  it("an address of a kind that is not read", () =>
    refusal("s3://bucket/cat.png", /^s3:\/\/bucket\/cat\.png: s3: addresses/, /download/));
  it("an address that cannot be parsed", () => refusal("http://:0:x", /expected an address/));
  it("a file: address of another machine", () => refusal("file://host/cat.png", /expected an address/));
  it("an address of a file that is not there", () =>
    refusal("file:///nowhere/cat.png", /^file:\/\/\/nowhere\/cat\.png: there is no such image file/));
  it("data: without a comma", () =>
    refusal("data:image/png;base64", /^data:image\/png address of \d+ characters: .*no comma/));
  it("data: with other characters", () => refusal(`data:image/png;base64,${base64}!!`, /expected base64/));
  it("data: with an escape that is none", () => refusal("data:text/plain,%zz", /two digits behind each %/));
  it("data: that holds a text", () => refusal("data:,hello", /^data: address of 11 characters: this is a text file/));

  it("blob: of a page", () => refusal("blob:nodedata:5f2c", /blob: addresses are not read; give the Blob itself/));

  it("base64 where a path belongs, of which nothing is printed", async () => {
    const message = await refusal(base64, /this is base64 and no path; write "data:image\/png;base64,"/);
    assert.ok(!message.includes(base64.slice(0, 60)), message);
  });
  it("base64 in a data: address that is damaged, of which nothing is printed", async () => {
    const message = await refusal(
      `data:image/jpeg;base64,${base64.slice(0, 400)}`,
      /^data:image\/jpeg address of 423 characters: the image is truncated or damaged/,
    );
    assert.ok(!message.includes(base64.slice(0, 20)), message);
  });
  it("a path of any length", () =>
    refusal(`/nowhere/${"long/".repeat(2000)}cat.png`, /^\/nowhere\/.{31}\.\.\. \(10016 characters\): /));
  it("a path with a zero", () => refusal("cat\0.png", /no path of an image file/));
  it("a promise", () => refusal(Promise.resolve(bytes), /a promise; await it/));
  it("a response", () =>
    refusal(new Response(bytes), /a response; give new Uint8Array\(await response\.arrayBuffer\(\)\)/));
  it("a stream", () => refusal(new Blob([bytes]).stream(), /a stream; collect its bytes/));
  it("a pipeline of sharp", () => refusal({ toBuffer: () => null }, /toBuffer\(\)/));
  it("a list of numbers", () => refusal([...bytes.subarray(0, 9)], /a list; give one picture/));
  it("an object", () => refusal({ src: "cat.png" }, /an object of src/));
  it("nothing", () => refusal(null, /image 2: expected a path, an address.*got null/));
});

describe("pictures behind http addresses", () => {
  let server: Server;
  let base: string;
  let requests: string[];
  const answers: Record<
    string,
    (write: (status: number, headers: Record<string, string>, body?: Uint8Array) => void) => void
  > = {
    "/cat.jpg": (write) => write(200, { "content-type": "image/jpeg" }, bytes),
    "/moved": (write) => write(302, { location: "/cat.jpg" }),
    "/absent": (write) => write(404, {}, Buffer.from("no")),
    "/page": (write) => write(200, { "content-type": "text/html" }, Buffer.from("<!doctype html><p>Sign in")),
    "/huge": (write) => write(200, { "content-length": String(MAX_FETCHED_BYTES + 1) }),
    "/silent": () => undefined,
    "/frames": (write) => write(200, {}, readFileSync(pictureFile("frames-2-4.gif"))),
  };

  before(async () => {
    server = createServer((request, response) => {
      requests.push(request.url! + (request.headers.authorization ?? ""));
      const answer = answers[request.url!.split("?")[0]!]!;
      answer((status, headers, body) => {
        response.writeHead(status, headers);
        if (body) response.end(body);
        else if (status !== 200) response.end();
        else response.flushHeaders();
      });
    });
    await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
    base = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  });
  beforeEach(() => (requests = []));
  after(() => (server.closeAllConnections(), server.close()));

  const fetched = (where: string): Promise<RawImage> => decodeImage(base + where, "image", { fetchPictures: true });

  it("are refused, and not asked for, unless the caller says so", async () => {
    await refusal(
      `${base}/cat.jpg`,
      /not fetched .* unless asked to; load with fetchPictures: true \(--fetch-pictures\), or download it/,
    );
    await refusal(new URL(`${base}/cat.jpg`), /fetchPictures/);
    assert.deepEqual(requests, []);
  });

  it("are fetched where the caller says so, through redirects", async () => {
    const expected = await decodeImage(file);
    assert.deepEqual(await fetched("/cat.jpg"), expected);
    assert.deepEqual(await fetched("/moved"), expected);
    assert.deepEqual(await decodeImage(new URL("/cat.jpg", base), "image", { fetchPictures: true }), expected);
  });

  it("reach a loaded model through the option of `load`", async () => {
    const model = await PaliGemma.load(undefined, { backend: "cpu", fetchPictures: true });
    const strict = await PaliGemma.load(undefined, { backend: "cpu" });
    try {
      const question = { image: `${base}/cat.jpg`, prompt: "caption en" };
      const { pixelBytes } = await model.process({ ...question, image: file });
      assert.deepEqual((await model.process(question)).pixelBytes, pixelBytes);
      const { width, height } = await decodeImage(file);
      assert.deepEqual((await decodedPicture(question.image, model.processor)).size, { width, height });
      await assert.rejects(strict.process(question), /fetchPictures: true/);
      await assert.rejects(strict.detect(question.image, ["cat"]), /fetchPictures: true/);
    } finally {
      model.dispose();
      strict.dispose();
    }
  });

  it("are fetched once for all frames of a video", async () => {
    assert.equal((await videoFrames(`${base}/frames`, 4, { fetchPictures: true })).length, 4);
    assert.deepEqual(requests, ["/frames"]);
  });

  it("that are not there, are no pictures or too large are refused", async () => {
    await assert.rejects(fetched("/absent"), /\/absent: the server answers 404; check the address/);
    await assert.rejects(fetched("/page"), /\/page: this is a web page \(HTML\)/);
    await assert.rejects(fetched("/huge"), /\/huge: the answer has more than 67108864 bytes/);
    await assert.rejects(
      decodeImage("http://127.0.0.1:1/x", "image", { fetchPictures: true }),
      /cannot be fetched \(\w+.*\); check the address/,
    );
  });

  it("are given up where the server is silent", async () => {
    const address = new URL("/silent", base);
    await assert.rejects(
      fetchPicture(address, "cat", { timeoutMs: 50 }),
      /^InputError: cat: .*no answer within 0.05 s/,
    );
  });

  it("are named without what may be secret", async () => {
    const address = `http://user:word@127.0.0.1:${(server.address() as AddressInfo).port}/absent?token=hidden`;
    // A user goes to the server as curl sends it.
    await decodeImage(address.replace("absent", "cat.jpg"), "image", { fetchPictures: true });
    assert.deepEqual(requests, [`/cat.jpg?token=hiddenBasic ${Buffer.from("user:word").toString("base64")}`]);
    for (const fetchPictures of [true, false]) {
      await assert.rejects(decodeImage(address, "image", { fetchPictures }), (error: Error) => {
        assert.doesNotMatch(error.message, /word|hidden|token/);
        return error instanceof InputError && error.message.startsWith("http://127.0.0.1:");
      });
    }
  });
});
