import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { mkdir, open, rename, symlink, truncate, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { readInPieces } from "../../weights/bytes.js";
import { openH5 } from "../../weights/h5-file.js";
import { hasUrl, openUrl, readUrl } from "../../weights/http.js";
import { memorySource, openFile, openFolder, type ByteSource, type Folder } from "../../weights/index.js";
import { longestJson } from "../../weights/source.js";
import { randomBytes, randomOf, weightsError, withFolder } from "./helpers.js";

const CONTENT = randomBytes(1000, randomOf(11));
/** Names that an index might carry to lead out of the folder, on any system. */
const ESCAPES = [
  "../secret",
  "a/../../secret",
  "/etc/passwd",
  "..",
  ".",
  "",
  "a//b",
  "./a",
  "..\\secret",
  "a\\b",
  "C:secret",
  "http://127.0.0.1/x",
  "file:///etc/passwd",
  "a\0b",
  "a\nb",
];

async function refusesEscapes(folder: Folder): Promise<void> {
  for (const name of ESCAPES) {
    const refusal = weightsError(/does not stay in the folder/);
    await assert.rejects(folder.open(name), refusal, name);
    await assert.rejects(folder.has(name), refusal, name);
    await assert.rejects(folder.readBytes(name), refusal, name);
    await assert.rejects(folder.readJson(name), refusal, name);
  }
}

async function refusesBadRanges(source: ByteSource): Promise<void> {
  for (const [start, end] of [
    [-1, 5],
    [0, 1001],
    [5, 4],
    [0.5, 4],
    [0, NaN],
    [1001, 1001],
    [0, Infinity],
  ]) {
    await assert.rejects(
      source.read(start, end),
      weightsError(/bytes .* were asked for, and the file has bytes 0\.\.1000/),
    );
  }
}

/** Reads in order, backwards, everything and nothing; each result is a buffer of its own. */
async function readsRanges(source: ByteSource): Promise<void> {
  assert.equal(source.size, 1000);
  for (const [start, end] of [
    [0, 1000],
    [0, 1],
    [999, 1000],
    [500, 507],
    [3, 500],
    [1000, 1000],
    [0, 0],
  ]) {
    const bytes = await source.read(start, end);
    assert.deepEqual(new Uint8Array(bytes), CONTENT.slice(start, end));
    bytes.fill(0);
    assert.deepEqual(new Uint8Array(await source.read(start, end)), CONTENT.slice(start, end));
  }
}

describe("weights/source", () => {
  it("memory is read by range, copied, and not beyond its ends", async () => {
    const source = memorySource("bytes", CONTENT.slice());
    await readsRanges(source);
    await refusesBadRanges(source);
    await source.close();
  });

  it("a large range is read in pieces that join without seams", async () => {
    const source = { name: "x", size: 1000 };
    for (const pieceSize of [1, 7, 100, 999, 1000, 5000]) {
      const positions: number[] = [];
      const fill = async (piece: Uint8Array, position: number): Promise<void> => {
        assert.ok(piece.length <= pieceSize);
        positions.push(position);
        piece.set(CONTENT.subarray(position, position + piece.length));
      };
      assert.deepEqual(await readInPieces(source, [13, 991], fill, pieceSize), CONTENT.slice(13, 991));
      assert.equal(positions.length, Math.ceil(978 / pieceSize));
    }
  });

  it("a length that no machine has room for is a WeightsError", async () => {
    const source = { name: "huge", size: 2 ** 52 };
    const reading = readInPieces(source, [0, 2 ** 52], async () => {});
    await assert.rejects(reading, weightsError(/^huge: no room in memory for 4503599627370496 bytes/));
  });

  describe("a folder on disk", () => {
    it("gives files by range, whole and as JSON", async () => {
      await withFolder({ "x.bin": CONTENT, "a.json": { b: [1] } }, async (path) => {
        for (const given of [path, `${path}/`, pathToFileURL(path).href]) {
          const folder = await openFolder(given);
          assert.equal(folder.localPath, path);
          const source = await folder.open("x.bin");
          await readsRanges(source);
          await refusesBadRanges(source);
          await source.close();
          assert.deepEqual(new Uint8Array(await folder.readBytes("x.bin")), CONTENT);
          assert.deepEqual(await folder.readJson("a.json"), { b: [1] });
          assert.deepEqual([await folder.has("x.bin"), await folder.has("y.bin")], [true, false]);
        }
        const small = await openFile(join(path, "x.bin"), 7);
        await readsRanges(small);
        await small.close();
      });
    });

    it("follows links, as the Hugging Face cache needs, and takes names with odd letters", async () => {
      await withFolder({ "x%2e ?#.bin": CONTENT }, async (path) => {
        await mkdir(join(path, "snapshot"));
        await symlink("../x%2e ?#.bin", join(path, "snapshot", "model"));
        const linked = await openFolder(join(path, "snapshot"));
        assert.deepEqual(new Uint8Array(await linked.readBytes("model")), CONTENT);
        const folder = await openFolder(path);
        assert.deepEqual(new Uint8Array(await folder.readBytes("x%2e ?#.bin")), CONTENT);
        assert.deepEqual(new Uint8Array(await folder.readBytes("snapshot/model")), CONTENT);
      });
    });

    it("refuses names that lead out of it", () =>
      withFolder({ "a.json": {} }, async (path) => refusesEscapes(await openFolder(path))));

    it("is refused when it is missing, a file, or of an unknown scheme", async () => {
      await withFolder({ "a.json": {} }, async (path) => {
        await assert.rejects(openFolder(join(path, "no")), weightsError(/no: there is no such folder/));
        await assert.rejects(openFolder(join(path, "a.json", "x")), weightsError(/there is no such folder/));
        await assert.rejects(openFolder(join(path, "a.json")), weightsError(/expected a model folder, found a file/));
        await assert.rejects(openFolder("hf://google/x"), weightsError(/scheme is not known/));
      });
    });

    it("says which file is missing, too long, a folder, or not JSON", async () => {
      const files = { "x.bin": CONTENT, "a.json": "{", "b.json": Uint8Array.of(0x22, 0xff, 0x22) };
      await withFolder(files, async (path) => {
        await mkdir(join(path, "sub"));
        const folder = await openFolder(path);
        await assert.rejects(folder.open("y.bin"), weightsError(/y\.bin: cannot be opened/));
        await assert.rejects(folder.readBytes("y.bin"), weightsError(/y\.bin: cannot be opened/));
        await assert.rejects(folder.readBytes("x.bin", 999), weightsError(/x\.bin: 1000 bytes, expected at most 999/));
        await assert.rejects(folder.open("sub"), weightsError(/sub: expected a file, found a folder/));
        assert.equal(await folder.has("sub"), false);
        // Longer than systems allow.
        await assert.rejects(folder.has("x".repeat(5000)), weightsError(/cannot be looked at/));
        await assert.rejects(folder.readJson("a.json"), weightsError(/a\.json is not valid JSON/));
        await assert.rejects(folder.readJson("b.json"), weightsError(/b\.json is not UTF-8/));
      });
    });

    it("notices a file that is cut after it was opened, and one that is closed", async () => {
      await withFolder({ "x.bin": CONTENT }, async (path) => {
        const source = await openFile(join(path, "x.bin"));
        await truncate(join(path, "x.bin"), 500);
        await assert.rejects(source.read(400, 600), weightsError(/x\.bin: ended inside bytes 400\.\.600/));
        await source.close();
        await assert.rejects(source.read(0, 1), weightsError(/x\.bin: bytes 0\.\.1 cannot be read/));
      });
    });
  });

  it("a file that is written to after it was opened is not read, and one that is replaced is", () =>
    withFolder({ "x.bin": CONTENT, "y.bin": CONTENT }, async (path) => {
      const [written, replaced] = [await openFile(join(path, "x.bin")), await openFile(join(path, "y.bin"))];
      await written.read(0, 100);
      const handle = await open(join(path, "x.bin"), "r+");
      await handle.write(Buffer.alloc(10), 0, 10, 500);
      await handle.close();
      await assert.rejects(written.read(0, 100), weightsError(/x\.bin: .*it was written to while it was in use/));
      await writeFile(join(path, "other"), new Uint8Array(1000));
      await rename(join(path, "other"), join(path, "y.bin"));
      assert.deepEqual(await replaced.read(500, 600), CONTENT.slice(500, 600));
      await written.close();
      await replaced.close();
    }));

  it("what is no regular file is refused for what it is, and not waited for", () =>
    withFolder({}, async (path) => {
      const pipe = join(path, "pipe");
      execFileSync("mkfifo", [pipe]);
      await assert.rejects(openFile(pipe), weightsError(/pipe: expected a file, found a pipe/));
      await assert.rejects(openFile("/dev/zero"), weightsError(/zero: expected a file, found a device/));
      await assert.rejects(openFile(path), weightsError(/expected a file, found a folder/));
      await assert.rejects(openH5(pipe), weightsError(/pipe: expected a file, found a pipe/));
      const folder = await openFolder(path);
      assert.equal(await folder.has("pipe"), true); // else a config that is a pipe would count as none
      await assert.rejects(folder.readJson("pipe"), weightsError(/pipe: expected a file, found a pipe/));
    }));

  it("JSON has a limit by its name", async () => {
    assert.deepEqual(
      ["config.json", "tokenizer.json", "model.safetensors.index.json", "x.weights.json", "tokenizer_config.json"].map(
        longestJson,
      ),
      [2 ** 23, 2 ** 26, 2 ** 26, 2 ** 26, 2 ** 23],
    );
    await withFolder({ "config.json": new Uint8Array(2 ** 23 + 1) }, async (path) => {
      const reading = (await openFolder(path)).readJson("config.json");
      await assert.rejects(reading, weightsError(/config\.json: 8388609 bytes, expected at most 8388608/));
    });
  });

  describe("a folder behind a URL", () => {
    let server: Server;
    let root: string;
    let answer: (request: IncomingMessage, response: ServerResponse) => void;
    const requests: string[] = [];

    before(async () => {
      server = createServer((request, response) => {
        requests.push(`${request.method} ${request.url} ${request.headers.range ?? ""}`.trim());
        answer(request, response);
      });
      await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
      root = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    });
    after(async () => {
      server.closeAllConnections();
      await new Promise((done) => server.close(done));
    });
    beforeEach(() => {
      requests.length = 0;
      answer = honest;
    });

    const rangeOf = ({ headers }: IncomingMessage): [number, number] | null => {
      const match = /^bytes=(\d+)-(\d+)$/.exec(headers.range ?? "");
      return match && [Number(match[1]), Number(match[2]) + 1];
    };
    const honest = (request: IncomingMessage, response: ServerResponse): void => {
      const files: Record<string, Uint8Array> = {
        "/m/x.bin": CONTENT,
        "/m/a.json": new TextEncoder().encode('{"b":[1]}'),
        "/m/empty": new Uint8Array(0),
        "/m/sub/x%252e%20%3F%23.bin": CONTENT,
      };
      const path = request.url!.replace(/\?.*$/, "");
      if (path.startsWith("/old/")) return void response.writeHead(302, { location: path.replace("/old", "/m") }).end();
      const file = files[path];
      if (!file) return void response.writeHead(404).end("not here");
      const range = rangeOf(request);
      if (!range)
        return void response
          .writeHead(200, { "content-length": file.length })
          .end(request.method === "HEAD" ? undefined : file);
      if (range[0] >= file.length)
        return void response.writeHead(416, { "content-range": `bytes */${file.length}` }).end();
      const headers = { "content-range": `bytes ${range[0]}-${range[1] - 1}/${file.length}` };
      response.writeHead(206, headers).end(file.subarray(...range));
    };
    /** Honest about the size, and `lie` about everything after it. */
    const lying = (lie: (range: [number, number], response: ServerResponse) => void) => {
      return (request: IncomingMessage, response: ServerResponse): void => {
        const range = rangeOf(request);
        if (!range || range[1] === 1) honest(request, response);
        else lie(range, response);
      };
    };
    const readMiddle = async (): Promise<Uint8Array> =>
      (await (await openFolder(`${root}/m`)).open("x.bin")).read(100, 200);

    it("gives files by range, whole and as JSON, with and without a slash at its end", async () => {
      for (const end of ["", "/"]) {
        const folder = await openFolder(`${root}/m${end}`);
        assert.equal(folder.localPath, null);
        assert.equal(folder.name, `${root}/m`);
        const source = await folder.open("x.bin");
        await readsRanges(source);
        await refusesBadRanges(source);
        assert.deepEqual(new Uint8Array(await folder.readBytes("x.bin")), CONTENT);
        assert.deepEqual(await folder.readJson("a.json"), { b: [1] });
        assert.deepEqual([await folder.has("x.bin"), await folder.has("y.bin")], [true, false]);
        await source.close();
        await assert.rejects(source.read(0, 1), weightsError(/after closing/));
      }
    });

    it("reads what is asked for and no more", async () => {
      const source = await (await openFolder(`${root}/m`)).open("x.bin");
      await source.read(100, 200);
      assert.deepEqual(requests, ["GET /m/x.bin bytes=0-0", "GET /m/x.bin bytes=100-199"]);
    });

    it("asks for a large range in pieces", async () => {
      const source = await openUrl(`${root}/m/x.bin`, "x.bin", { pieceSize: 300 });
      assert.deepEqual(new Uint8Array(await source.read(50, 1000)), CONTENT.slice(50));
      assert.deepEqual(
        requests.slice(1).map((line) => line.split("=")[1]),
        ["50-349", "350-649", "650-949", "950-999"],
      );
    });

    it("follows redirects, sends its query along, and escapes names", async () => {
      const moved = await openFolder(`${root}/old?revision=1`);
      const source = await moved.open("x.bin");
      assert.deepEqual(new Uint8Array(await source.read(5, 9)), CONTENT.slice(5, 9));
      assert.ok(requests.some((line) => line.startsWith("GET /old/x.bin?revision=1 ")));
      assert.equal(source.name, `${root}/old/x.bin`);
      const folder = await openFolder(`${root}/m`);
      assert.deepEqual(new Uint8Array(await folder.readBytes("sub/x%2e ?#.bin")), CONTENT);
    });

    it("refuses names that lead out of it, before asking the server", async () => {
      await refusesEscapes(await openFolder(`${root}/m`));
      assert.deepEqual(requests, []);
    });

    it("opens an empty file", async () => {
      const source = await (await openFolder(`${root}/m`)).open("empty");
      assert.equal(source.size, 0);
      assert.deepEqual([...(await source.read(0, 0))], []);
    });

    it("says which file is missing or too long, and which server does not answer", async () => {
      const folder = await openFolder(`${root}/m`);
      await assert.rejects(folder.open("y.bin"), weightsError(/\/m\/y\.bin: there is no such file/));
      await assert.rejects(folder.readBytes("y.bin"), weightsError(/y\.bin: the server answered 404/));
      await assert.rejects(folder.readBytes("x.bin", 999), weightsError(/x\.bin: longer than the 999 bytes/));
      answer = (_request, response) => response.destroy();
      await assert.rejects(folder.open("x.bin"), weightsError(/x\.bin: no answer from the server/));
      await assert.rejects(folder.has("x.bin"), weightsError(/x\.bin: no answer from the server/));
      answer = (_request, response) => response.writeHead(500).end();
      await assert.rejects(folder.open("x.bin"), weightsError(/answered 500/));
      await assert.rejects(folder.has("x.bin"), weightsError(/answered 500/));
    });

    it("is asked with GET where the server forbids HEAD", async () => {
      answer = (request, response) => {
        if (request.method === "HEAD") response.writeHead(405).end();
        else honest(request, response);
      };
      const folder = await openFolder(`${root}/m`);
      assert.deepEqual(
        [await folder.has("x.bin"), await folder.has("y.bin"), await folder.has("empty")],
        [true, false, true],
      );
    });

    it("is given up where the server sends a byte now and then, or is silent", async () => {
      const dripping: NodeJS.Timeout[] = [];
      answer = lying((_range, response) => {
        response.writeHead(206, { "content-range": "bytes 100-199/1000" });
        dripping.push(setInterval(() => response.write("x"), 30));
      });
      const source = await openUrl(`${root}/m/x.bin`, "x.bin", { stall: 200 });
      await assert.rejects(source.read(100, 200), weightsError(/^x\.bin: only \d+ bytes came in 0 s from the server$/));
      dripping.forEach(clearInterval);
      answer = () => {};
      const silent = weightsError(/^x\.bin: nothing came for 0\.2 s from the server$/);
      await assert.rejects(openUrl(`${root}/m/x.bin`, "x.bin", { stall: 200 }), silent);
      await assert.rejects(hasUrl(`${root}/m/x.bin`, "x.bin", { stall: 200 }), silent);
      await assert.rejects(readUrl(`${root}/m/x.bin`, "x.bin", 1000, { stall: 200 }), silent);
    });

    it("is refused where the server ignores Range, without downloading the file", async () => {
      answer = (_request, response) => {
        response.writeHead(200, { "content-length": 10 ** 12 });
        response.write(CONTENT); // and the rest never comes: whoever waits for it fails by timeout
      };
      const folder = await openFolder(`${root}/m`);
      await assert.rejects(folder.open("x.bin"), weightsError(/x\.bin: the server ignores Range requests; download/));
    });

    const LIES: [string, RegExp, (range: [number, number], response: ServerResponse) => void][] = [
      [
        "sends the whole file after all",
        /asked for "bytes 100-199\/1000", the server answered 200 with "no range"/,
        (_range, response) => response.writeHead(200).end(CONTENT),
      ],
      [
        "sends the range and calls it the whole file",
        /asked for "bytes 100-199\/1000", the server answered 200 with "bytes 100-199\/1000"/,
        ([start], response) =>
          response.writeHead(200, { "content-range": "bytes 100-199/1000" }).end(CONTENT.subarray(start, start + 100)),
      ],
      [
        "sends another range",
        /answered 206 with "bytes 0-99\/1000"/,
        (_range, response) =>
          response.writeHead(206, { "content-range": "bytes 0-99/1000" }).end(CONTENT.subarray(0, 100)),
      ],
      [
        "has a file of another size by now",
        /answered 206 with "bytes 100-199\/2000"/,
        (_range, response) =>
          response.writeHead(206, { "content-range": "bytes 100-199/2000" }).end(CONTENT.subarray(100, 200)),
      ],
      [
        "sends too little",
        /bytes 100\.\.200: the server sent 50 of 100 bytes/,
        ([start], response) =>
          response.writeHead(206, { "content-range": "bytes 100-199/1000" }).end(CONTENT.subarray(start, start + 50)),
      ],
      [
        "sends too much",
        /bytes 100\.\.200: the server sent more than was asked for/,
        ([start], response) =>
          response.writeHead(206, { "content-range": "bytes 100-199/1000" }).end(CONTENT.subarray(start, start + 101)),
      ],
      [
        "announces more than it sends",
        /bytes 100\.\.200: the connection broke/,
        ([start], response) => {
          response.writeHead(206, { "content-range": "bytes 100-199/1000", "content-length": 100 });
          response.write(CONTENT.subarray(start, start + 10), () => response.destroy());
        },
      ],
      [
        "announces less than the range",
        /bytes 100\.\.200: the server sent 10 of 100 bytes/,
        ([start], response) => {
          const headers = { "content-range": "bytes 100-199/1000", "content-length": 10 };
          response.writeHead(206, headers).end(CONTENT.subarray(start, start + 10));
        },
      ],
      ["fails", /the server answered 503/, (_range, response) => response.writeHead(503).end("later")],
    ];
    for (const [what, message, lie] of LIES) {
      it(`is not believed when the server ${what}`, async () => {
        answer = lying(lie);
        await assert.rejects(readMiddle(), weightsError(/\/m\/x\.bin/, message));
      });
    }

    it("is not believed when the server claims no size, an odd size, or a whole file that breaks off", async () => {
      const folder = await openFolder(`${root}/m`);
      for (const range of ["bytes 0-0/*", "bytes 0-0/99999999999999999999", "bytes 0-5/1000", "bytes 0-0/0", "junk"]) {
        answer = (_request, response) => response.writeHead(206, { "content-range": range }).end("x");
        await assert.rejects(folder.open("x.bin"), weightsError(/asked for the first byte, the server answered 206/));
      }
      answer = (_request, response) => {
        response.writeHead(200, { "content-length": 1000 });
        response.write("short", () => response.destroy());
      };
      await assert.rejects(folder.readBytes("x.bin"), weightsError(/the connection broke/));
    });

    it("is refused with a password in its URL, which is not repeated", async () => {
      const opening = openFolder(root.replace("//", "//user:secret@"));
      await assert.rejects(opening, (error: Error) => {
        assert.doesNotMatch(error.message, /secret/);
        return weightsError(/a name or password inside a URL is not sent/)(error);
      });
    });
  });
});
