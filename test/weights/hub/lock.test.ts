import assert from "node:assert/strict";
import { execFile, spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdir, mkdtemp, readdir, readFile, rm, stat, utimes, writeFile } from "node:fs/promises";
import { hostname, tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { packageRoot } from "../../../src/base/package-root.js";
import { type LockOptions, withLock } from "../../../weights/hub/lock.js";
import { weightsError } from "../helpers.js";

const turn = () => new Promise<void>((resolve) => setImmediate(resolve));

/** Time that passes only where somebody waits. */
function clock(onWait: (now: number, signal?: AbortSignal) => void | Promise<void> = () => {}) {
  let now = 0;
  const wait = async (milliseconds: number, signal?: AbortSignal): Promise<void> => {
    now += milliseconds;
    await onWait(now, signal);
    await turn();
    signal?.throwIfAborted();
  };
  return { poll: 500, lockSilence: 60_000, wait, now: () => now };
}

describe("weights/hub/lock", () => {
  let folder: string;
  let path: string;
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), "paligemma-lock-"));
    path = join(folder, "locks", "a.lock");
  });
  afterEach(() => rm(folder, { recursive: true, force: true }));
  const left = async (holder: object | string) => {
    await mkdir(join(folder, "locks"), { recursive: true });
    await writeFile(path, typeof holder === "string" ? holder : JSON.stringify(holder));
  };
  /** A process of this machine that has ended. */
  const ended = async (): Promise<number> => {
    const child = spawn(process.execPath, ["-e", ""]);
    await new Promise((resolve) => child.on("exit", resolve));
    return child.pid!;
  };

  it("is not left behind empty where the disk has no room for the holder's name", async function () {
    if (process.platform === "win32") this.skip();
    const module = new URL("../../../weights/hub/lock.ts", import.meta.url).href;
    const script = `import { withLock } from ${JSON.stringify(module)};
      process.on("SIGXFSZ", () => {});
      await withLock(${JSON.stringify(path)}, { patience: { now: () => 0, lockSilence: 60_000 } }, async () => {}).catch(({ message }) => console.log(message));`;
    const args = ["-c", 'ulimit -f 0; exec "$0" --import tsx --input-type=module -e "$1"', process.execPath, script];
    const env = { ...process.env, TSX_DISABLE_CACHE: "1" };
    const { stdout } = await promisify(execFile)("bash", args, { cwd: packageRoot(), env });
    assert.match(stdout, /a\.lock: cannot be written \(EFBIG/);
    assert.deepEqual(await readdir(join(folder, "locks")), []);
  });

  it("lets one after another in, and leaves nothing behind, whatever happens inside", async () => {
    let inside = 0;
    let most = 0;
    const options: LockOptions = { patience: { ...clock(), lockSilence: 1e9 } };
    const enter = (i: number) =>
      withLock(path, options, async () => {
        most = Math.max(most, ++inside);
        for (let turns = 0; turns < 5; turns++) await turn();
        inside -= 1;
        if (i === 3) throw new Error("inside");
        return i;
      });
    const results = await Promise.allSettled([0, 1, 2, 3, 4, 5].map(enter));
    assert.equal(most, 1);
    assert.deepEqual(
      results.map((result) => (result.status === "fulfilled" ? result.value : (result.reason as Error).message)),
      [0, 1, 2, "inside", 4, 5],
    );
    assert.deepEqual(await readdir(join(folder, "locks")), []);
  }).timeout(20_000);

  it("says who holds it, once", async () => {
    const heard: string[] = [];
    await left({ id: "x", pid: process.pid, host: hostname() });
    const patience = clock(async (now) => {
      if (now >= 2000) await rm(path, { force: true });
    });
    await withLock(path, { patience, onWait: (holder) => heard.push(holder) }, async () => {});
    assert.deepEqual(heard, [`process ${process.pid} on ${hostname()}`]);
  });

  it("a holder of this machine whose process has ended is not waited for", async () => {
    await left({ id: "x", pid: await ended(), host: hostname() });
    const patience = clock(() => assert.fail("it waited"));
    assert.equal(await withLock(path, { patience }, async () => "in"), "in");
  });

  for (const [what, holder] of [
    ["of another machine", { id: "x", pid: 0, host: "another" }],
    ["that cannot be read", "{"],
    ["of a process that has the number of an ended one", { id: "x", pid: process.pid, host: hostname() }],
  ] as const) {
    it(`a holder ${what} is waited for as long as it shows that it lives`, async () => {
      const known = typeof holder === "object" && holder.pid === 0 ? { ...holder, pid: await ended() } : holder;
      await left(known); // a number that no process bears here says nothing about another machine
      let last = 0;
      const patience = clock(async (now) => {
        if (now > 200_000 || now - last < 15_000) return;
        last = now;
        await utimes(path, now, now);
      });
      await withLock(path, { patience }, async () => {});
      assert.ok(patience.now() >= last + 60_000 && patience.now() < last + 62_000, String(patience.now()));
    });
  }

  it("a holder shows that it lives", async () => {
    const patience = { ...clock(), lockSilence: 20 };
    let waiting = 0;
    const wait = async () => {
      waiting += 1;
      await turn();
    };
    const order: string[] = [];
    const first = withLock(path, { patience }, async () => {
      // Real time here: until the lock was touched a few times.
      const times = new Set<number>();
      while (times.size < 3) times.add((await stat(path)).mtimeMs);
      order.push("first");
    });
    while (!existsSync(path)) await turn();
    const second = withLock(
      path,
      { patience: { ...patience, wait, now: () => 0 } },
      async () => void order.push("second"),
    );
    await Promise.all([first, second]);
    assert.deepEqual(order, ["first", "second"]);
    assert.ok(waiting > 0);
  });

  it("one of several who find it left behind gets in at a time", async () => {
    let inside = 0;
    let most = 0;
    let entered = 0;
    await left({ id: "x", pid: await ended(), host: hostname() });
    const enter = () =>
      withLock(path, { patience: clock() }, async () => {
        most = Math.max(most, ++inside);
        entered += 1;
        for (let turns = 0; turns < 3; turns++) await turn();
        inside -= 1;
      });
    await Promise.all(Array.from({ length: 8 }, enter));
    assert.deepEqual([most, entered], [1, 8]);
    assert.deepEqual(await readdir(join(folder, "locks")), []);
  }).timeout(20_000);

  it("one who was about to take it away and ended, or is silent, is in nobody's way", async () => {
    for (const taker of [
      { id: "y", pid: await ended(), host: hostname() },
      { id: "y", pid: 1, host: "another" },
    ]) {
      await left({ id: "x", pid: await ended(), host: hostname() });
      await writeFile(`${path}.taking`, JSON.stringify(taker));
      const patience = clock();
      assert.equal(await withLock(path, { patience }, async () => "in"), "in");
      assert.ok(patience.now() <= 121_000, String(patience.now()));
      assert.deepEqual(await readdir(join(folder, "locks")), []);
    }
  });

  it("a holder that lost it does not take the next one's away", async () => {
    await withLock(path, { patience: clock() }, async () => {
      await left({ id: "next", pid: 1, host: "another" });
    });
    assert.equal((JSON.parse(await readFile(path, "utf8")) as { id: string }).id, "next");
  });

  it("waiting ends at once when the signal is aborted", async () => {
    await left({ id: "x", pid: process.pid, host: hostname() });
    const stop = new AbortController();
    const patience = clock((_now, signal) => {
      assert.equal(signal, stop.signal);
      stop.abort(new Error("enough"));
    });
    const waiting = withLock(path, { patience, signal: stop.signal }, async () => assert.fail("it got in"));
    await assert.rejects(waiting, /^Error: enough$/);
    assert.ok(existsSync(path), "the holder keeps it");
  });

  it("a place where nothing can be written is told", async () => {
    await writeFile(join(folder, "file"), "");
    const entering = withLock(join(folder, "file", "a.lock"), { patience: clock() }, async () => {});
    await assert.rejects(entering, weightsError(/a\.lock: cannot be written \(E/));
  });
});
