import assert from "node:assert/strict";
import { type ChildProcess, execFile, spawn } from "node:child_process";
import { cpSync, existsSync, readdirSync, readFileSync } from "node:fs";
import { mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import os from "node:os";
import path from "node:path";
import { promisify } from "node:util";

import { isMaskFile, writeMasks } from "../../../src/cli/write-masks.js";
import { demoCheckpoint } from "../../../src/base/demo-checkpoint.js";
import type { Mask } from "../../../src/masks/mask.js";
import { packageRoot } from "../../../src/base/package-root.js";
import { heldoutFolder } from "../../heldout/heldout.js";
import { LONG } from "../../support/backends.js";
import { cli } from "../../support/run-cli.js";

const mask = (value: number): Mask => ({ width: 5, height: 3, data: new Uint8Array(15).fill(value) });
const size = { width: 5, height: 3 };

describe("outputs of commands are whole or absent", () => {
  let folder: string;
  const at = (...names: string[]): string => path.join(folder, ...names);
  beforeEach(async () => void (folder = await mkdtemp(path.join(os.tmpdir(), "paligemma-outputs-"))));
  afterEach(() => rm(folder, { recursive: true, force: true }));

  describe("masks", () => {
    it("are numbered as their objects are, with a map of all, and leave other files alone", async () => {
      await mkdir(at("masks"));
      await writeFile(at("masks", "photo.jpg"), "mine");
      await writeMasks(at("masks"), [{ mask: mask(255) }, { mask: null }, { mask: mask(255) }], size);
      assert.deepEqual((await readdir(at("masks"))).sort(), ["1.png", "3.png", "labels.png", "photo.jpg"]);
      await writeMasks(at("new", "folder"), [{ mask: mask(255) }], size);
      assert.deepEqual((await readdir(at("new", "folder"))).sort(), ["1.png", "labels.png"]);
      assert.ok(["1.png", "12.png", "labels.png"].every(isMaskFile));
      assert.ok(!["0.png", "01.png", "1.PNG.png", "photo.png", "labels.png.bak"].some(isMaskFile));
    });

    it("that cannot all be written leave every earlier one, and nothing of their own", async () => {
      await writeMasks(at("masks"), [{ mask: mask(255) }], size);
      const before = await readFile(at("masks", "1.png"));
      const broken = [{ mask: mask(0) }, { mask: { ...mask(0), width: 7 } }];
      await assert.rejects(writeMasks(at("masks"), broken, size));
      assert.deepEqual(await readFile(at("masks", "1.png")), before);
      assert.deepEqual((await readdir(at("masks"))).sort(), ["1.png", "labels.png"]);
    });

    it("do not begin to take their places where one of those is a folder", async () => {
      await mkdir(at("masks", "2.png"), { recursive: true });
      await writeFile(at("masks", "1.png"), "old");
      const writing = writeMasks(at("masks"), [{ mask: mask(0) }, { mask: mask(0) }], size);
      await assert.rejects(writing, /2\.png: expected a file to replace, found a folder/);
      assert.equal(await readFile(at("masks", "1.png"), "utf8"), "old");
      assert.deepEqual((await readdir(at("masks"))).sort(), ["1.png", "2.png"]);
    });
  });

  it(`a report, a drawing and a run that exceed what may be written leave the earlier file${LONG}`, async () => {
    const picture = path.join(heldoutFolder, "0014.png");
    for (const [name, args] of [
      ["page.html", ["report", picture, "--prompt", "ocr"]],
      ["boxes.svg", ["detect", picture, "star", "--max-new-tokens", "5"]],
      ["run.safetensors", ["inspect", picture, "--prompt", "ocr", "--hooks", "language.blocks.*.hook_resid_post"]],
      ["run.json", ["inspect", picture, "--prompt", "ocr", "--hooks", "language.blocks.*.hook_resid_post"]],
    ] as const) {
      await writeFile(at(name), "old");
      const command = [
        process.execPath,
        "--import",
        "tsx",
        "src/cli.ts",
        ...args,
        "--backend",
        "wasm",
        "--out",
        at(name),
      ];
      const limited = promisify(execFile)("bash", ["-c", 'ulimit -f 8; exec "$@"', "bash", ...command], {
        cwd: packageRoot(),
        env: { ...process.env, TSX_DISABLE_CACHE: "1" }, // whose files would exceed the limit too
      });
      const error = await limited.then(
        () => assert.fail(`${name} was written`),
        (thrown: { code: number; stderr: string }) => thrown,
      );
      assert.equal(error.code, 1, error.stderr);
      assert.match(error.stderr, /^error: .*(page|boxes|run)\.\w+: cannot be written \(.*EFBIG.*$/m);
      assert.equal(await readFile(at(name), "utf8"), "old");
    }
    assert.deepEqual((await readdir(folder)).sort(), ["boxes.svg", "page.html", "run.json", "run.safetensors"]);
  });

  describe("convert", () => {
    /**
     * The demo checkpoint behind an address; of the weights comes all but the end, and `stalled` tells when it waits
     * there.
     */
    async function stallingHub(): Promise<{ address: string; stalled: Promise<void>; server: Server }> {
      let tell = (): void => {};
      const stalled = new Promise<void>((resolve) => (tell = resolve));
      const server = createServer(({ url, headers, method }, response) => {
        const file = path.join(demoCheckpoint(), path.basename(url!));
        if (!existsSync(file)) return void response.writeHead(404).end();
        const bytes = readFileSync(file);
        const [, from, to] = /bytes=(\d+)-(\d+)/.exec(headers.range ?? "") ?? [
          undefined,
          "0",
          String(bytes.length - 1),
        ];
        const part = bytes.subarray(Number(from), Number(to) + 1);
        response.writeHead(headers.range ? 206 : 200, {
          "Content-Length": part.length,
          "Content-Range": `bytes ${from}-${to}/${bytes.length}`,
          "Accept-Ranges": "bytes",
        });
        if (method === "HEAD" || Number(from) < 3e6) return void response.end(method === "HEAD" ? undefined : part);
        response.write(part.subarray(0, 10));
        tell();
      });
      await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
      return { address: `http://127.0.0.1:${(server.address() as AddressInfo).port}/m`, stalled, server };
    }

    /** Converts from there in another process, and ends it with a signal when it has written a part. */
    async function stopped(signal: NodeJS.Signals, target: string, ...more: string[]): Promise<unknown[]> {
      const { address, stalled, server } = await stallingHub();
      const args = ["--import", "tsx", "src/cli.ts", "convert", address, target, ...more];
      const child: ChildProcess = spawn(process.execPath, args, { cwd: packageRoot(), stdio: "ignore" });
      const ended = new Promise<unknown[]>((resolve) => child.on("exit", (...how) => resolve(how)));
      try {
        await Promise.race([stalled, ended]);
        assert.ok(hidden().length === 1, `one hidden part: ${readdirSync(folder).join(", ")}`);
        child.kill(signal);
        return await ended;
      } finally {
        server.closeAllConnections();
        server.close();
      }
    }
    /** Hidden names of the target's folder and of the target. */
    const hidden = (): string[] =>
      readdirSync(folder, { recursive: true, encoding: "utf8" }).filter(
        (name) => /(^|\/)\.[^/]*$/.test(name) && !name.includes("safetensors"),
      );

    it("that a signal stops leaves nothing, and ends with the signal", async () => {
      assert.deepEqual(await stopped("SIGTERM", at("out")), [null, "SIGTERM"]);
      assert.deepEqual(readdirSync(folder), []);
    });

    it(`that is stopped while it overwrites leaves what was there${LONG}`, async () => {
      await mkdir(at("out"));
      await writeFile(at("out", "model.safetensors"), "old");
      assert.deepEqual(await stopped("SIGINT", at("out"), "--overwrite"), [null, "SIGINT"]);
      assert.deepEqual(readdirSync(at("out")), ["model.safetensors"]);
      assert.equal(readFileSync(at("out", "model.safetensors"), "utf8"), "old");
    });

    it(`that is killed leaves a part which the next one removes${LONG}`, async () => {
      assert.deepEqual(await stopped("SIGKILL", at("out")), [null, "SIGKILL"]);
      assert.equal(hidden().length, 1);
      const { code, stderr } = await cli("convert", demoCheckpoint(), at("out"));
      assert.equal(code, 0, stderr);
      assert.deepEqual(readdirSync(folder), ["out"]);
    });

    it("fills an empty folder that a link leads to, and the link stays", async () => {
      await mkdir(at("volume"));
      await symlink("volume", at("out"));
      const { code, stderr } = await cli("convert", demoCheckpoint(), at("out"));
      assert.equal(code, 0, stderr);
      assert.deepEqual(readdirSync(folder).sort(), ["out", "volume"]);
      assert.ok(existsSync(at("volume", "config.json")));
      assert.deepEqual(
        readdirSync(at("volume")).filter((name) => name.startsWith(".")),
        [],
      );
    });

    it("into the folder that holds its archive leaves the archive", async () => {
      const archives = path.join(packageRoot(), "test", "fixtures", "npz", "tiny-pg2");
      cpSync(path.join(archives, "f32.npz"), at("in", "f32.npz"));
      cpSync(path.join(archives, "config.json"), at("in", "config.json"));
      const tokenizer = path.join(packageRoot(), "test", "fixtures", "models", "tiny-pg2");
      const convert = (target: string) =>
        cli("convert", at("in", "f32.npz"), target, "--tokenizer", tokenizer, "--overwrite");
      const refused = await convert(at("in"));
      assert.equal(refused.code, 1);
      assert.match(refused.stderr, /expected another file than <in> .*config\.json, which would be lost/);
      assert.equal((await convert(at("in", "converted"))).code, 0);
    });
  });
});
