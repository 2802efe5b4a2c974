import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import { mkdir, mkdtemp, readFile, readdir, readlink, rm, symlink, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import os from "node:os";
import path from "node:path";

import { downloadAddon } from "../../../src/setup/addon.js";
import { atomically } from "../../../src/setup/atomic.js";
import {
  cacheFolder,
  depsLinks,
  nativeLayout,
  nvidiaLibraries,
  packageFolder,
} from "../../../src/backends/native/layout.js";
import { kernelAddonPath } from "../../../src/backends/native/kernel-addon.js";
import { buildKernelAddon } from "../../../src/setup/kernel-build.js";
import { loadNative } from "../../../src/backends/native/load.js";
import { cudaDistributions, PINNED_WHEELS } from "../../../src/setup/pinned-wheels.js";
import { polyfillUtil, type OldUtil } from "../../../src/backends/native/polyfill.js";
import { probe, type ProbeResult } from "../../../src/backends/native/probe.js";
import { run, type Run, type RunResult } from "../../../src/backends/native/process.js";
import { setupNative } from "../../../src/setup/setup.js";
import { findPython, findToolchain, nodeHeaders } from "../../../src/setup/tools.js";
import { describeWhere } from "../../support/describe-where.js";
import { markName, thisProcess } from "../../../weights/process-mark.js";
import { cachedWheel, wheelArguments } from "../../../src/setup/wheel.js";

/** A runner that knows a few command lines by their beginning; any other command is "not found". */
function fakeRun(answers: Record<string, Partial<RunResult>>, seen: string[] = []): Run {
  return async (command, args) => {
    const line = [command, ...args].join(" ");
    seen.push(line);
    const key = Object.keys(answers).find((start) => line.startsWith(start));
    const found = key === undefined ? { code: 127, stderr: "not found" } : answers[key];
    return { code: 0, stdout: "", stderr: "", timedOut: false, ...found };
  };
}

const linuxX64 = process.platform === "linux" && process.arch === "x64";
const works: ProbeResult = {
  ok: true,
  packageName: "@tensorflow/tfjs-node",
  tensorflowVersion: "2.21.0",
  gpu: false,
  folder: "somewhere",
  kernels: true,
};

describe("native setup", () => {
  let folder: string;
  beforeEach(async () => void (folder = await mkdtemp(path.join(os.tmpdir(), "native-"))));
  afterEach(() => rm(folder, { recursive: true, force: true }));

  describe("tools", () => {
    it("a Python without pip is named, with what to install", async () => {
      const answers = { "python3 -c": { stdout: "/x/python3\n3 12\n" }, "/x/python3 -m pip": { code: 1 } };
      await assert.rejects(findPython(fakeRun(answers), {}), {
        name: "BackendError",
        message: /found python3 \(Python 3\.12\) has no pip\. Install both .*python3-pip/,
      });
    });

    it("no Python and an old Python are told apart", async () => {
      await assert.rejects(findPython(fakeRun({}), {}), /found no Python\./);
      const old = fakeRun({ "python -c": { stdout: "/x/python\n2 7\n" } });
      await assert.rejects(findPython(old, {}), /found python is Python 2\.7\./);
    });

    it("the variable PYTHON goes first", async () => {
      const run = fakeRun({ "mine -c": { stdout: "/x/mine\n3 13\n" }, "/x/mine -m pip": {} });
      assert.deepEqual(await findPython(run, { PYTHON: "mine" }), { command: "/x/mine", version: [3, 13] });
    });

    it("a missing compiler and a missing make are named, with what to install", async () => {
      await assert.rejects(
        findToolchain(fakeRun({}), {}),
        /a C\+\+ compiler and make not found\. Install .*build-essential/,
      );
      await assert.rejects(findToolchain(fakeRun({ "g++": {} }), {}), /; make not found/);
      assert.deepEqual(await findToolchain(fakeRun({ "clang++": {}, make: {} }), {}), { cxx: "clang++", make: "make" });
    });

    it("headers of another major version beside the node program are not used", async () => {
      await mkdir(path.join(folder, "include/node"), { recursive: true });
      await mkdir(path.join(folder, "bin"));
      await writeFile(path.join(folder, "bin/node"), "");
      await writeFile(path.join(folder, "include/node/node_version.h"), "#define NODE_MAJOR_VERSION 22\n");
      assert.equal(path.basename(nodeHeaders(path.join(folder, "bin/node"), "22.4.0") ?? ""), path.basename(folder));
      assert.equal(nodeHeaders(path.join(folder, "bin/node"), "24.0.0"), undefined);
    });

    it("a command past its time limit is ended", async () => {
      const result = await run(process.execPath, ["-e", "setInterval(() => {}, 1000)"], { timeoutMs: 300 });
      assert.equal(result.timedOut, true);
      assert.equal((await run("no-such-program-here", [])).code, 127);
    });
  });

  describe("wheel", () => {
    it("a Python that TensorFlow has a wheel for takes its own, any other that of 3.12", () => {
      const own = wheelArguments("tensorflow-cpu==2.21.0", { command: "p", version: [3, 11] }, "/w");
      assert.ok(!own.includes("--python-version"));
      for (const version of [
        [3, 8],
        [3, 14],
      ] as [number, number][]) {
        const line = wheelArguments("tensorflow-cpu==2.21.0", { command: "p", version }, "/w").join(" ");
        assert.match(
          line,
          /--no-deps --only-binary=:all: --python-version 3\.12 --implementation cp .*tensorflow-cpu==2\.21\.0$/,
        );
      }
    });

    it("a downloaded wheel is found again, and that of another version or device is not", async () => {
      await writeFile(path.join(folder, "tensorflow_cpu-2.21.0-cp311-cp311-manylinux_2_27_x86_64.whl"), "");
      assert.match(cachedWheel(folder, "tensorflow-cpu", "2.21.0-") ?? "", /cp311.*whl$/);
      assert.equal(cachedWheel(folder, "tensorflow-cpu", "2.22.0-"), undefined);
      assert.equal(cachedWheel(folder, "tensorflow", "2.21.0-"), undefined);
    });
  });

  describe("layout", () => {
    it("the libraries lie under their link names and their run-time names, the CUDA ones beside them", async () => {
      await mkdir(path.join(folder, "nvidia/cublas/lib"), { recursive: true });
      for (const name of ["libcublas.so.12", "readme.txt"])
        await writeFile(path.join(folder, "nvidia/cublas/lib", name), "");
      const links = Object.fromEntries(depsLinks(nvidiaLibraries(folder)).map(({ at, to }) => [at, to]));
      assert.deepEqual(links, {
        "deps/include": "tensorflow/include",
        "deps/lib/libtensorflow.so": "tensorflow/libtensorflow_cc.so.2",
        "deps/lib/libtensorflow_cc.so.2": "tensorflow/libtensorflow_cc.so.2",
        "deps/lib/libtensorflow_framework.so": "tensorflow/libtensorflow_framework.so.2",
        "deps/lib/libtensorflow_framework.so.2": "tensorflow/libtensorflow_framework.so.2",
        "deps/lib/libcublas.so.12": "nvidia/cublas/lib/libcublas.so.12",
      });
    });

    it("the cache folder follows PALIGEMMA_NATIVE_DIR, then XDG_CACHE_HOME, then the home folder", () => {
      assert.equal(cacheFolder({ PALIGEMMA_NATIVE_DIR: folder, XDG_CACHE_HOME: "/x" }), folder);
      assert.equal(cacheFolder({ XDG_CACHE_HOME: "/x" }), path.join("/x", "paligemma-tfjs"));
      assert.equal(cacheFolder({}), path.join(os.homedir(), ".cache", "paligemma-tfjs"));
    });

    it("CPU and GPU share no folder but that of the wheels", () => {
      const [cpu, gpu] = [nativeLayout(false, folder), nativeLayout(true, folder)];
      assert.equal(cpu.wheels, gpu.wheels);
      for (const key of ["libtensorflow", "pristine", "ready"] as const) assert.notEqual(cpu[key], gpu[key]);
    });
  });

  it("the polyfill gives util what Node 23 took away", () => {
    const util: OldUtil = {};
    polyfillUtil(util);
    assert.deepEqual([null, undefined, 0, ""].map(util.isNullOrUndefined!), [true, true, false, false]);
    assert.deepEqual([[], {}, "a"].map(util.isArray!), [true, false, false]);
  });

  describe("atomically", () => {
    it("a failure leaves the older folder and nothing else", async () => {
      const target = path.join(folder, "made");
      await atomically(target, (partial) => writeFile(path.join(partial, "a"), "old"));
      const failing = atomically(target, async (partial) => {
        await writeFile(path.join(partial, "a"), "new");
        throw new Error("halfway");
      });
      await assert.rejects(failing, /halfway/);
      assert.equal(await readFile(path.join(target, "a"), "utf8"), "old");
      await atomically(target, (partial) => writeFile(path.join(partial, "a"), "new"));
      assert.equal(await readFile(path.join(target, "a"), "utf8"), "new");
      assert.deepEqual(await names(folder), ["made"]);
    });

    it("what a killed run left is cleared, what a living process makes is not", async () => {
      const dead = await run(process.execPath, ["-p", "process.pid"]);
      const part = (pid: number) => `.made.part-${markName({ ...thisProcess(), pid, start: "" })}.0123abcd`;
      for (const pid of [Number(dead.stdout), process.ppid]) await mkdir(path.join(folder, part(pid)));
      await atomically(path.join(folder, "made"), async () => {});
      assert.deepEqual(await names(folder), [part(process.ppid), "made"]);
    });

    it("a folder that is replaced keeps its links to what lies beside it", async () => {
      const target = path.join(folder, "made");
      await writeFile(path.join(folder, "beside"), "there");
      for (const round of [1, 2]) {
        await atomically(target, (partial) => symlink(path.join("..", "beside"), path.join(partial, `link${round}`)));
        assert.equal(await readFile(path.join(target, `link${round}`), "utf8"), "there");
      }
      assert.deepEqual(await names(target), ["link2"]);
    });
  });

  describe("steps", () => {
    it("a backend that works is left alone, and said to work", async () => {
      const [lines, seen]: string[][] = [[], []];
      const options = { cache: folder, log: (line: string) => lines.push(line), run: fakeRun({}, seen) };
      assert.equal(await setupNative({ ...options, probe: async () => works }), true);
      assert.deepEqual(lines, [
        "Already done: @tensorflow/tfjs-node with TensorFlow 2.21.0 on CPU, with the project's kernels. Nothing to do.",
      ]);
      assert.deepEqual(seen, []);
      assert.deepEqual(await names(folder), []);
    });

    it("a backend that works without the project's kernels gets them, and only them", async () => {
      await mkdir(path.join(folder, "lib"));
      const lines: string[] = [];
      const compile: Run = async (_command, args) => {
        const output = args[args.indexOf("-o") + 1];
        if (args.includes("-o")) await writeFile(output, "");
        return { code: 0, stdout: "", stderr: "", timedOut: false };
      };
      const probe = async (): Promise<ProbeResult> => {
        const kernels = existsSync(kernelAddonPath(folder));
        return { ...works, folder, kernels } as ProbeResult;
      };
      const log = (line: string): void => void lines.push(line.replace(/[\d.]+ s\.$/, "_"));
      assert.equal(await setupNative({ cache: folder, log, run: compile, probe }), true);
      assert.deepEqual(lines, [
        "Build the project's kernels: done in _",
        "Ready: @tensorflow/tfjs-node with TensorFlow 2.21.0 on CPU, with the project's kernels.",
      ]);
      const kernels = path.basename(kernelAddonPath(folder));
      assert.deepEqual(await names(path.join(folder, "lib")), ["mute.cc", "mute.node", kernels]);
    });

    it("without a compiler the kernels are left out, and it is said", async () => {
      const lines: string[] = [];
      const probe = async (): Promise<ProbeResult> => ({ ...works, kernels: false }) as ProbeResult;
      const log = (line: string): void => void lines.push(line);
      assert.equal(await setupNative({ cache: folder, log, run: fakeRun({}), probe }), true);
      assert.match(lines.join("\n"), /kernels: left out, weights will be float32\..*C\+\+ compiler/);
    });

    it("a compiler that lacks the newest instructions builds the kernels without them", async () => {
      await mkdir(path.join(folder, "lib"));
      const defines = new Set<string>();
      const old: Run = async (_command, args) => {
        args.filter((arg) => arg.startsWith("-DPALIGEMMA")).forEach((arg) => defines.add(arg));
        const code = args.includes("-mamx-tile") || args.includes("-mavx512bf16") ? 1 : 0;
        if (code === 0) await writeFile(args[args.indexOf("-o") + 1], "");
        return { code, stdout: "", stderr: "unrecognized command-line option", timedOut: false };
      };
      await buildKernelAddon(folder, { cxx: "old", make: "make" }, old);
      assert.ok(existsSync(kernelAddonPath(folder)));
      const expected = process.arch === "x64" ? ["-DPALIGEMMA_HAVE_AVX2", "-DPALIGEMMA_HAVE_AVX512"] : [];
      assert.deepEqual([...defines], expected);
    });

    it("--check changes nothing and says what is wrong", async () => {
      const lines: string[] = [];
      const log = (line: string): void => void lines.push(line);
      const broken = async (): Promise<ProbeResult> => ({ ok: false, reason: "not installed" });
      assert.equal(await setupNative({ check: true, cache: folder, log, probe: broken, run: fakeRun({}) }), false);
      assert.equal(await setupNative({ check: true, cache: folder, log, probe: async () => works }), true);
      assert.deepEqual(lines, [
        "Native backend not usable: not installed.",
        "Native backend works: @tensorflow/tfjs-node with TensorFlow 2.21.0 on CPU, with the project's kernels.",
      ]);
      assert.deepEqual(await names(folder), []);
    });

    it("a folder with a space is refused before anything is done", async () => {
      const probe = async (): Promise<ProbeResult> => ({ ok: false, reason: "not installed" });
      await assert.rejects(
        setupNative({ cache: "/a b", probe, run: fakeRun({}), log: () => {} }),
        /PALIGEMMA_NATIVE_DIR/,
      );
    });

    it("a run goes through the steps once, a second one finds them done, and a failure starts over where it was", async function () {
      // elsewhere setup only takes the package's own download: there are no steps to go through
      if (!linuxX64) this.skip();
      const machine = fakeMachine(folder);
      machine.failBuild = true;
      await assert.rejects(machine.setup(), /building the addon failed[^]*no luck/);
      assert.equal(existsSync(nativeLayout(false, folder).ready), false);
      machine.failBuild = false;
      machine.lines.length = 0;
      assert.equal(await machine.setup(), true);
      assert.deepEqual(
        machine.lines.map((line) => line.replace(/[\d.]+ s\.$/, "_")),
        [
          "Install @tensorflow/tfjs-node: already done.",
          "Its own download: left out, as asked.",
          "Fetch the wheel tensorflow-cpu 2.21.0 with pip: already done.",
          "Unpack libtensorflow: already done.",
          "Build the addon and try it: done in _",
          "Ready: @tensorflow/tfjs-node with TensorFlow 2.21.0 on CPU, with the project's kernels, in somewhere.",
          "That is a package which you installed yourself; it comes before the one that setup made.",
        ],
      );
      const library = path.join(packageFolder(nativeLayout(false, folder).ready, false), "deps/lib/libtensorflow.so");
      assert.ok(!path.isAbsolute(await readlink(library)) && existsSync(library));
      machine.lines.length = 0;
      await machine.setup();
      assert.match(machine.lines.join(), /^Already done/);
    });
  });

  const elsewhere = linuxX64 ? null : "wheels, which setup takes on Linux x64 only";
  describeWhere({ absent: elsewhere, what: "LINUX" }, "wheels are those whose hashes are known", () => {
    const refused = (received: string, advice: RegExp) => (error: Error) => {
      assert.equal(error.name, "BackendError");
      assert.match(
        error.message,
        new RegExp(`${WHEEL}: expected SHA-256 ${sha256("bytes")}, received ${sha256(received)}; `),
      );
      assert.match(error.message, advice);
      return true;
    };

    it("a download with other bytes is refused, and neither kept nor unpacked", async () => {
      const machine = fakeMachine(folder);
      machine.served = "other bytes";
      await assert.rejects(machine.setup(), refused("other bytes", /pip's index gave another file than PyPI has/));
      assert.deepEqual(await names(path.join(folder, "wheels")), []);
      assert.equal(existsSync(nativeLayout(false, folder).libtensorflow), false);
    });

    it("a cached one with other bytes is refused as well, and is right again when it is removed", async () => {
      const machine = fakeMachine(folder);
      const cached = path.join(folder, "wheels", WHEEL);
      await mkdir(path.dirname(cached));
      await writeFile(cached, "spoilt");
      await assert.rejects(machine.setup(), refused("spoilt", /remove that file and run setup again/));
      assert.equal(existsSync(nativeLayout(false, folder).libtensorflow), false);
      await rm(cached);
      assert.equal(await machine.setup(), true);
    });

    it("one of another name is refused whatever it holds", async () => {
      const machine = fakeMachine(folder);
      const other = "tensorflow_cpu-2.21.0-cp399-cp399-linux_x86_64.whl";
      await mkdir(path.join(folder, "wheels"));
      await writeFile(path.join(folder, "wheels", other), "bytes");
      await assert.rejects(machine.setup(), /cp399.*expected a wheel whose SHA-256 is known, received [0-9a-f]{64}/);
    });

    it("each Python that TensorFlow has wheels for has one for CPU and GPU, and CUDA's libraries one each", () => {
      const files = Object.keys(PINNED_WHEELS);
      for (const hash of Object.values(PINNED_WHEELS)) assert.match(hash, /^[0-9a-f]{64}$/);
      assert.equal(new Set(Object.values(PINNED_WHEELS)).size, files.length);
      for (const name of ["tensorflow_cpu", "tensorflow"]) {
        for (const python of ["310", "311", "312", "313"]) {
          const start = `${name}-2.21.0-cp${python}-cp${python}-manylinux`;
          assert.equal(files.filter((file) => file.startsWith(start)).length, 1, start);
        }
      }
      const cuda = cudaDistributions(PINNED_WHEELS);
      assert.equal(new Set(cuda.map(({ name }) => name)).size, 12);
      assert.ok(cuda.some(({ name, version }) => name === "nvidia-cublas-cu12" && version.startsWith("12.")));
    });
  });

  describe("its own download", () => {
    const download = async (status: number, script: string): Promise<string | null> => {
      const server = createServer((_request, response) => response.writeHead(status).end());
      await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
      const layout = nativeLayout(false, folder);
      await fakePackage(packageFolder(layout.pristine, false), (server.address() as AddressInfo).port, script);
      try {
        return await downloadAddon({ layout, gpu: false, run, probe: async () => works });
      } finally {
        server.close();
      }
    };

    it("is not started when the server has nothing for this system", async () => {
      assert.equal(await download(403, ""), "its server answered 403 for this system's addon");
    });

    it("leaves nothing when it fails", async () => {
      assert.match((await download(200, `console.error("disk full"); process.exit(1);`)) ?? "", /disk full/);
      assert.equal(existsSync(nativeLayout(false, folder).ready), false);
    });

    it("is put in place when it works", async () => {
      assert.equal(await download(200, `require("fs").writeFileSync("made", "")`), null);
      assert.ok(existsSync(path.join(packageFolder(nativeLayout(false, folder).ready, false), "made")));
    });
  });

  describe("loading", () => {
    const packageName = "@tensorflow/tfjs-node";

    it("gives null when nothing is installed", async () => {
      assert.equal(await loadNative([]), null);
    });

    it("a package without its addon is an error that says how to build it", async () => {
      const find = `module.exports = { find: () => ${JSON.stringify(path.join(folder, "lib/tfjs_binding.node"))} };`;
      await preGyp(folder, find);
      await assert.rejects(loadNative([{ packageName, folder }]), {
        name: "BackendError",
        message: /has no built addon \(expected lib.tfjs_binding\.node\)\. Run `npm run setup:native`/,
      });
    });

    it("arguments of the program are not taken for node-pre-gyp's own", async () => {
      await preGyp(folder, `module.exports = { find: () => { throw new Error(process.argv.slice(2).join("+")); } };`);
      const { argv } = process;
      process.argv = [...argv.slice(0, 2), "--dir", "elsewhere"];
      try {
        await assert.rejects(loadNative([{ packageName, folder }]), /cannot be loaded: \. Run/);
        assert.deepEqual(process.argv.slice(2), ["--dir", "elsewhere"]);
      } finally {
        process.argv = argv;
      }
    });

    it("an addon that does not open is an error with the cause", async () => {
      await writeFile(path.join(folder, "broken.node"), "not a library");
      await preGyp(folder, `module.exports = { find: () => ${JSON.stringify(path.join(folder, "broken.node"))} };`);
      await assert.rejects(loadNative([{ packageName, folder }]), /cannot be loaded: .*broken\.node.*setup:native/);
    });
  });

  it("the native backend multiplies, knows bf16 and shares the engine, where it is installed", async function () {
    this.timeout(150_000);
    const result = await probe();
    if (!result.ok && process.env.PALIGEMMA_REQUIRE_TENSORFLOW !== "1") {
      console.log(`      skipped: the tensorflow backend is absent (${result.reason})`);
      this.skip();
    }
    assert.ok(result.ok, result.ok ? "" : `PALIGEMMA_REQUIRE_TENSORFLOW is set, but: ${result.reason}`);
    assert.match(result.tensorflowVersion, /^2\./);
  });
});

const names = async (folder: string): Promise<string[]> => (await readdir(folder)).sort();

async function preGyp(folder: string, script: string): Promise<void> {
  await mkdir(path.join(folder, "node_modules/@mapbox/node-pre-gyp"), { recursive: true });
  await writeFile(path.join(folder, "node_modules/@mapbox/node-pre-gyp/index.js"), script);
}

/** A tfjs-node whose server is this machine and whose install script is `script`. */
async function fakePackage(folder: string, port: number, script: string): Promise<void> {
  await mkdir(path.join(folder, "scripts"), { recursive: true });
  const remote_path = "./napi-v{napi_build_version}/{version}/";
  const binary = { host: `http://127.0.0.1:${port}`, remote_path, napi_versions: [3, 8] };
  const description = { version: "4.22.0", binary, scripts: { install: "node scripts/install.js" } };
  await writeFile(path.join(folder, "package.json"), JSON.stringify(description));
  await writeFile(path.join(folder, "scripts/get-addon-name.js"), `console.log("CPU-linux-4.22.0.tar.gz")`);
  await writeFile(path.join(folder, "scripts/install.js"), script);
}

const WHEEL = "tensorflow_cpu-2.21.0-cp311-cp311-linux_x86_64.whl";

const sha256 = (text: string): string => createHash("sha256").update(text).digest("hex");

/** A machine on which every command succeeds by leaving the files that setup looks for. */
function fakeMachine(cache: string) {
  const machine = {
    failBuild: false,
    wheel: "bytes",
    served: "bytes",
    lines: [] as string[],
    setup: (): Promise<boolean> => setup(),
  };
  const put = async (root: string, names: string[]): Promise<void> => {
    for (const name of names) {
      await mkdir(path.dirname(path.join(root, name)), { recursive: true });
      await (name.endsWith("/")
        ? mkdir(path.join(root, name), { recursive: true })
        : writeFile(path.join(root, name), ""));
    }
  };
  const runFake: Run = async (command, args, options) => {
    const done: RunResult = { code: 0, stdout: "", stderr: "", timedOut: false };
    if (args.includes("install") && args.includes("--prefix")) {
      await put(options!.cwd!, ["node_modules/@tensorflow/tfjs-node/lib/"]);
    } else if (args.includes("download")) {
      const folder = args[args.indexOf("--dest") + 1]!;
      await mkdir(folder, { recursive: true });
      await writeFile(path.join(folder, WHEEL), machine.served);
    } else if (args[0] === "-c" && args[1]!.includes("sys.executable")) {
      done.stdout = `${command}\n3 11\n`;
    } else if (args[0] === "-c") {
      await put(args[3]!, args.slice(4));
    } else if (args.includes("--build-from-source") && machine.failBuild) {
      return { ...done, code: 1, stderr: "no luck" };
    }
    return done;
  };
  const ready = nativeLayout(false, cache).ready;
  const probeFake = async (options: { folder?: string } = {}): Promise<ProbeResult> =>
    options.folder || existsSync(ready) ? works : { ok: false, reason: "not installed" };
  const setup = (): Promise<boolean> =>
    setupNative({
      cache,
      fromSource: true,
      wheels: { [WHEEL]: sha256(machine.wheel) },
      run: runFake,
      probe: probeFake,
      log: (line) => machine.lines.push(line),
    });
  return machine;
}
