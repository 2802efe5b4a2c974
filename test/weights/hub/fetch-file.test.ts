import assert from "node:assert/strict";
import { open, readFile, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { HubConnection } from "../../../weights/hub/connection.js";
import { fetchFile } from "../../../weights/hub/fetch-file.js";
import { type Fault, gitSha1, type HubRequest, type HubServer, sha256 } from "../../support/hub-server.js";
import { weightsError } from "../helpers.js";
import { COMMIT, FILES, IMPATIENT, REPOSITORY, RESTLESS, withScene } from "./helpers.js";

/** A large file lies on the store, behind a redirect; a small one on the Hub itself. */
const LARGE = "model-1.safetensors";
const SMALL = "tokenizer.json";
const etagOf = (path: string): string => (path === LARGE ? sha256(FILES[path]) : gitSha1(FILES[path]));

type Fetched = { server: HubServer; path: string; notices: string[]; sent: () => HubRequest[]; lengths: number[] };
type Options = { file?: string; etag?: string; signal?: AbortSignal; hub?: Partial<HubConnection>; before?: Buffer };

/** Downloads one file while `fault` goes wrong, and looks at what came of it. */
const fetching = (
  fault: (request: HubRequest, count: number) => Fault | undefined,
  look: (run: () => Promise<void>, fetched: Fetched) => Promise<void>,
  { file = LARGE, etag = etagOf(file), signal, hub = {}, before }: Options = {},
): Promise<void> =>
  withScene(async ({ server, home, connection, notices }) => {
    const path = join(home, "partial");
    if (before) await writeFile(path, before);
    const served = file === LARGE ? sha256(FILES[LARGE]) : SMALL;
    const mine = ({ path: asked, host }: HubRequest) =>
      asked.endsWith(served) && host === (file === LARGE ? "store" : "hub");
    server.fault = (request, count) => (mine(request) ? fault(request, count) : undefined);
    const lengths: number[] = [];
    const asked = { repository: REPOSITORY, revision: COMMIT, file };
    const run = () =>
      fetchFile(
        { ...connection, patience: RESTLESS, ...hub },
        asked,
        { path: file, size: FILES[file].length, etag },
        path,
        {
          signal,
          onLength: (length) => lengths.push(length),
        },
      );
    await look(run, { server, path, notices, lengths, sent: () => server.requests.filter(mine) });
  });

/** It arrives in spite of the fault. */
const arrives = (
  fault: Parameters<typeof fetching>[0],
  check: (fetched: Fetched) => void | Promise<void>,
  options?: Options,
) =>
  fetching(
    fault,
    async (run, fetched) => {
      await run();
      assert.deepEqual(await readFile(fetched.path), FILES[options?.file ?? LARGE]);
      await check(fetched);
    },
    options,
  );

const once = (fault: Fault) => (_request: HubRequest, count: number) => (count === 0 ? fault : undefined);

describe("weights/hub/fetch-file", () => {
  for (const file of [LARGE, SMALL]) {
    describe(file === LARGE ? "from the store that the Hub redirects to" : "from the Hub itself", () => {
      const size = FILES[file].length;
      const half = Math.floor(size / 2);

      it("goes on where a connection broke, asking for the rest of the same version", () =>
        arrives(
          once({ cutAfter: half }),
          ({ sent, notices }) => {
            const [first, second] = sent();
            assert.deepEqual([first.headers.range, first.headers["if-range"]], [undefined, undefined]);
            assert.match(second.headers.range!, /^bytes=\d+-$/);
            const own = file === LARGE ? `"stored-${etagOf(file).slice(0, 8)}"` : `"${etagOf(file)}"`;
            assert.equal(second.headers["if-range"], own);
            assert.equal(second.status, 206);
            assert.match(
              notices[0],
              new RegExp(`^${REPOSITORY}/${file}: no whole answer from .*; trying again in 1 s$`),
            );
          },
          { file },
        ));

      it("goes on with what an earlier run has left", () =>
        arrives(
          () => undefined,
          ({ sent, lengths }) => {
            assert.deepEqual([sent()[0].headers.range, sent()[0].sent], [`bytes=${half}-`, size - half]);
            assert.equal(sent()[0].headers["if-range"], file === LARGE ? undefined : `"${etagOf(file)}"`);
            assert.ok(lengths[0] > half);
          },
          { file, before: FILES[file].subarray(0, half) },
        ));

      it("begins anew where ranges are ignored", () =>
        arrives(
          (_request, count) => (count === 0 ? { cutAfter: half } : { ignoreRange: true }),
          ({ sent, lengths }) => {
            assert.deepEqual(
              sent().map(({ status }) => status),
              [200, 200],
            );
            assert.ok(lengths.includes(0), "the count begins anew too");
          },
          { file },
        ));

      it("begins anew where another range comes than was asked for", () =>
        arrives(
          (_request, count) => [{ cutAfter: half }, { contentRange: `bytes 0-${size - 1}/${size}` }][count],
          ({ sent, notices }) => {
            assert.equal(sent().length, 3);
            assert.match(notices[1], /sends "bytes 0-\d+\/\d+", expected bytes \d+ to \d+ of it/);
          },
          { file },
        ));

      it("begins anew where what is there turns out to be of another file", () =>
        arrives(
          () => undefined,
          ({ sent, notices }) => {
            assert.deepEqual(
              sent().map(({ headers }) => headers.range),
              [`bytes=${half}-`, undefined],
            );
            assert.match(notices[0], /the bytes that came are not those of/);
          },
          { file, before: Buffer.alloc(half, 7) },
        ));

      it("begins anew where what is there is longer than the file, and asks for nothing where it is whole", async () => {
        await arrives(
          () => undefined,
          ({ sent, notices }) => {
            assert.equal(sent()[0].headers.range, undefined);
            assert.deepEqual(notices, []);
          },
          { file, before: Buffer.alloc(size + 1) },
        );
        await arrives(
          () => undefined,
          ({ sent }) => assert.deepEqual(sent(), []),
          { file, before: FILES[file] },
        );
      });

      it("tells a wrong byte by the hash, asks once more, and keeps nothing of it", () => {
        const wrong = Buffer.from(FILES[file]);
        wrong[half] ^= 1;
        // With the right ETag: an answer that lies throughout.
        const fault = () => ({ content: wrong, headers: { etag: `"${etagOf(file)}"` } });
        return fetching(
          fault,
          async (run, { path, sent }) => {
            const message = weightsError(/the bytes that came are not those of [0-9a-f]+; nothing of it was kept/);
            await assert.rejects(run(), message);
            assert.equal(sent().length, 2);
            assert.equal((await stat(path)).size, 0);
          },
          { file },
        );
      });

      it("a body that is shorter or longer than its length, or than the file, is not believed", async () => {
        const etag = { etag: `"${etagOf(file)}"` };
        const longer = { content: Buffer.concat([FILES[file], Buffer.from("more")]), headers: etag };
        const shorter = { content: FILES[file].subarray(0, half), headers: etag };
        const lies: [Fault, RegExp][] = [
          [{ contentLength: size + 5 }, /sends \d+ bytes, expected bytes 0 to/],
          [{ contentLength: size - 5 }, /sends \d+ bytes, expected bytes 0 to/],
          [longer, /sends \d+ bytes, expected bytes 0 to/],
          [{ ...longer, contentLength: null }, /sent more than \d+ bytes/],
          [{ ...longer, contentLength: size }, /no whole answer|sent more|^$/],
          [{ ...shorter, contentLength: null }, /ended after \d+ of \d+ bytes/],
          [{ ...shorter, contentLength: size }, /no whole answer|nothing came/],
        ];
        for (const [lie, told] of lies) {
          await arrives(once(lie), ({ notices }) => assert.match(notices[0] ?? "", told), { file });
        }
      });

      it("a connection over which nothing comes any more is given up, and resumed", () =>
        arrives(
          once({ stallAfter: half }),
          ({ sent, notices }) => {
            assert.match(notices[0], /nothing came for 0\.25 s; trying again/);
            assert.equal(sent()[1].headers.range, `bytes=${half}-`);
          },
          { file },
        ));

      it("one over which not even an answer comes, too", () =>
        arrives(once({ silent: true }), ({ sent }) => assert.equal(sent().length, 2), { file }));

      it("a busy server is asked again, after the pause that it asks for", () => {
        const waits: number[] = [];
        const wait = async (milliseconds: number) => void waits.push(milliseconds);
        const date = new Date(Date.now() + 20_500).toUTCString();
        const faults: Fault[] = [
          { status: 429, headers: { "retry-after": "7" } },
          { status: 503, headers: { "retry-after": date } },
          { status: 500 },
          { status: 429, headers: { ratelimit: '"resolvers";r=0;t=9' } },
        ];
        return arrives(
          (_request, count) => faults[count],
          () => {
            assert.deepEqual([waits[0], waits[2], waits[3]], [7000, 4000, 9000]);
            assert.ok(waits[1] > 10_000 && waits[1] <= 21_000, String(waits[1]));
          },
          { file, hub: { patience: { ...IMPATIENT, wait } } },
        );
      });
    });
  }

  it("gives up after five failures in a row, and keeps what came", () =>
    fetching(
      (_request, count) => (count < 3 ? { cutAfter: 80_000 } : { status: 502 }),
      async (run, { path, sent }) => {
        await assert.rejects(run(), weightsError(/127\.0\.0\.1:\d+ answered 502; tried 5 times, run it again later/));
        assert.equal(sent().length, 7, "what came began the count anew");
        assert.ok((await stat(path)).size > 50_000);
      },
    ));

  it("gives a connection up over which a byte comes now and then", () =>
    fetching(
      () => ({ drip: 25 }),
      async (run, { sent, notices }) => {
        await assert.rejects(run(), /only \d+ bytes came in 0 s; tried 5 times/);
        assert.match(notices[0], /only \d+ bytes came in 0 s; trying again/);
        assert.equal(sent().length, 5);
      },
    ));

  it("does not go on with a server that drips", () =>
    fetching(
      () => ({ cutAfter: 100 }),
      async (run, { sent }) => {
        await assert.rejects(run(), /tried 5 times/);
        assert.equal(sent().length, 5);
      },
    ));

  it("nor with one that always begins anew", () =>
    fetching(
      () => ({ cutAfter: 200_000, ignoreRange: true }),
      async (run, { sent }) => {
        await assert.rejects(run(), /tried 5 times/);
        assert.ok(sent().length <= 10, String(sent().length));
      },
    ));

  it("does not wait for a server that asks for an hour", () =>
    fetching(
      () => ({ status: 429, headers: { "retry-after": "3600" } }),
      (run) => assert.rejects(run(), weightsError(/answered 429; the server asks to wait 3600 s, run it again then/)),
    ));

  it("a version that changed between two attempts is not joined to the other", () => {
    const first = Buffer.alloc(FILES[LARGE].length, 1);
    const fault = (_request: HubRequest, count: number): Fault =>
      count === 0 ? { content: first, etag: '"old"', cutAfter: 150_000 } : { etag: '"new"' };
    return arrives(fault, ({ sent, notices }) => {
      assert.deepEqual(
        sent().map(({ headers, status }) => [headers["if-range"], status]),
        [
          [undefined, 200],
          ['"old"', 200],
        ],
      );
      assert.equal(notices.length, 1, "no mismatch had to be found");
    });
  });

  it("a weak ETag names no version", () =>
    arrives(once({ cutAfter: 1000, etag: 'W/"x"' }), ({ sent }) =>
      assert.equal(sent()[1].headers["if-range"], undefined),
    ));

  it("a file that the Hub now serves in another version, size or commit is refused", async () => {
    const changed = { file: SMALL, etag: "0".repeat(40) };
    const asks = weightsError(/the Hub now serves [0-9a-f]{40}, and listed 0{40}; run it again/);
    await fetching(
      () => undefined,
      (run) => assert.rejects(run(), asks),
      changed,
    );
    const linked: [Record<string, string>, RegExp][] = [
      [{ "x-linked-etag": `"${"1".repeat(64)}"` }, /the Hub now serves 1{64}, and listed/],
      [{ "x-linked-size": "77" }, /the Hub gives its size as 77, and listed 300001/],
      [{ "x-repo-commit": "f".repeat(40) }, /the Hub serves it from commit f{40}/],
    ];
    for (const [headers, message] of linked) {
      await fetching(
        () => undefined,
        async (run, { server }) => {
          server.fault = ({ host }) => (host === "hub" ? { headers } : undefined);
          await assert.rejects(run(), weightsError(message));
        },
      );
    }
  });

  it("a disk that is full is told with what to do, and what came is kept", () =>
    fetching(
      () => undefined,
      async (run, { path }) => {
        const broken = await failingWrites(path, "ENOSPC: no space left on device", 100_000);
        try {
          await assert.rejects(run(), weightsError(/no space left.*make room and run it again, it goes on from there/));
        } finally {
          broken.restore();
        }
        assert.ok((await stat(path)).size >= 100_000);
        await run();
        assert.deepEqual(await readFile(path), FILES[LARGE]);
      },
    ));

  it("an aborted signal ends a pause and a silence at once", async () => {
    const stop = new AbortController();
    const wait = async (_milliseconds: number, signal?: AbortSignal) => {
      stop.abort(new Error("enough"));
      signal!.throwIfAborted();
    };
    await fetching(
      () => ({ status: 503 }),
      (run) => assert.rejects(run(), /^Error: enough$/),
      { signal: stop.signal, hub: { patience: { ...IMPATIENT, wait } } },
    );
    const silent = new AbortController();
    await fetching(
      () => {
        setImmediate(() => silent.abort(new Error("silence")));
        return { stallAfter: 0 };
      },
      (run) => assert.rejects(run(), /^Error: silence$/),
      { signal: silent.signal, hub: { patience: IMPATIENT } },
    );
  });
});

/** Makes writes beyond `room` bytes of a file fail, as a full disk does. */
async function failingWrites(path: string, message: string, room: number): Promise<{ restore(): void }> {
  const handle = await open(path, "w");
  const prototype = Object.getPrototypeOf(handle) as { write: (...args: unknown[]) => Promise<unknown> };
  await handle.close();
  const { write } = prototype;
  prototype.write = function (this: unknown, ...args: unknown[]) {
    if ((args[3] as number) >= room) return Promise.reject(Object.assign(new Error(message), { code: "ENOSPC" }));
    return write.apply(this, args);
  };
  return { restore: () => void (prototype.write = write) };
}
