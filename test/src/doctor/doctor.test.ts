import assert from "node:assert/strict";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import path from "node:path";

import { describeDiagnosis } from "../../../src/cli/describe-diagnosis.js";
import { backendsOf, reportOn } from "../../../src/doctor/backends.js";
import { memoryBandwidth } from "../../../src/doctor/bandwidth.js";
import { type CheckedBackend, checkHere, type CheckResult } from "../../../src/doctor/check-backend.js";
import { type Diagnosis, diagnose } from "../../../src/doctor/diagnose.js";
import { gpus, isSeen } from "../../../src/doctor/gpu.js";
import { demoReference } from "../../../src/doctor/reference.js";
import { InputError } from "../../../src/base/errors.js";
import { loadConfig, loadNetwork } from "../../../src/loading/load-network.js";
import { nativeLayout, packageFolder } from "../../../src/backends/native/layout.js";
import { packageRoot } from "../../../src/base/package-root.js";
import { compareHooks, EXACT, TOLERANCE } from "../../../src/parity/run.js";
import { demoCheckpoint } from "../../../src/base/demo-checkpoint.js";
import { openFolder } from "../../../weights/source.js";
import { LONG, longOnCpu, onEachBackend } from "../../support/backends.js";
import { cli } from "../../support/run-cli.js";
import { inTemporaryFolder } from "../../support/temporary.js";

const right: CheckedBackend = {
  kernels: "avx2 (of avx2, generic)",
  threads: 3,
  native: null,
  cuda: [],
  parity: { hooks: 11, worst: "projector.hook_out", scaled: 3e-6, limit: 2e-5, tokensEqual: true },
  demo: { text: "a star", firstToken: 123.4, furtherToken: 5.67, dtype: "float32" },
};
const native = { packageName: "@tensorflow/tfjs-node-gpu", tensorflowVersion: "2.21.0", folder: "f" } as const;
const checked = (changes: Partial<CheckedBackend> = {}) => ({
  check: async (): Promise<CheckResult> => ({ ok: true, checked: { ...right, ...changes } }),
  bandwidth: async () => 12.34,
});
const off = (parity: Partial<CheckedBackend["parity"]>) => checked({ parity: { ...right.parity, ...parity } });
const AUTO = { backend: "auto", gpu: false } as const;

/** Runs `body` where the native backend is not installed, or, with a name, where its package is there and empty. */
async function withNative(installed: string | null, body: () => Promise<void>): Promise<void> {
  const before = process.env.PALIGEMMA_NATIVE_DIR;
  await inTemporaryFolder(async (folder) => {
    process.env.PALIGEMMA_NATIVE_DIR = folder;
    if (installed !== null) {
      const place = packageFolder(nativeLayout(installed === "gpu", folder).ready, installed === "gpu");
      mkdirSync(place, { recursive: true });
      writeFileSync(path.join(place, "package.json"), '{"version":"4.22.0"}');
    }
    try {
      await body();
    } finally {
      if (before === undefined) delete process.env.PALIGEMMA_NATIVE_DIR;
      else process.env.PALIGEMMA_NATIVE_DIR = before;
    }
  });
}

describe("doctor", () => {
  describe("judges a backend", () => {
    const judged = async (tools: Parameters<typeof reportOn>[2], asked: Parameters<typeof reportOn>[1] = AUTO) => {
      const { state, fault, reason, advice } = await reportOn("wasm", asked, tools);
      return { state, fault, reason, advice };
    };

    it("right where every number is within the limit", async () => {
      assert.deepEqual(await judged(checked()), { state: "right", fault: false, reason: null, advice: null });
      assert.equal((await judged(off({ scaled: 2e-5 }))).state, "right", "the limit itself");
    });

    it("wrong where a number is not, or is none, or the tokens differ", async () => {
      for (const [parity, reason] of [
        [{ scaled: 2.1e-5 }, "projector.hook_out is off by 2.1e-5"],
        [{ scaled: NaN }, "projector.hook_out is off by NaN"],
        [{ scaled: Infinity }, "projector.hook_out is off by Infinity"],
        [{ tokensEqual: false }, "the decoded tokens are not those of transformers"],
      ] as const) {
        const { advice, ...rest } = await judged(off(parity));
        assert.deepEqual(rest, { state: "wrong", fault: true, reason });
        assert.match(advice!, /^use another backend, and report this/);
      }
    });

    it("on a GPU that is off, with TF32 as what to look at first", async () => {
      const gpu = { ...native, gpu: true, kernels: false };
      const { advice } = await judged({ ...checked({ native: gpu, parity: { ...right.parity, scaled: 1e-3 } }) });
      assert.match(advice!, /^a GPU may round products to TF32: set NVIDIA_TF32_OVERRIDE=0 .*; else use another/);
    });

    it("broken where its process does not answer, with the line that says most", async () => {
      const check = async (): Promise<CheckResult> => ({
        ok: false,
        reason: "at x\nError: no such kernel\n\nNode.js v9",
      });
      const { advice, ...rest } = await judged({ check });
      assert.deepEqual(rest, { state: "broken", fault: true, reason: "Error: no such kernel" });
      assert.match(advice!, /install/);
    });
  });

  it("a native backend that is not installed is a fault only where it is asked for, and what to do is said", () =>
    withNative(null, async () => {
      const never = { check: () => assert.fail("there is nothing to check") };
      const plain = await reportOn("tensorflow", AUTO, never);
      assert.deepEqual([plain.state, plain.fault, plain.reason], ["absent", false, "not installed, and optional"]);
      assert.match(plain.advice!, /^npm run setup:native \(/);
      const asked = await reportOn("tensorflow", { backend: "tensorflow", gpu: false }, never);
      assert.deepEqual([asked.state, asked.fault, asked.reason], ["absent", true, "not installed"]);
      const gpu = await reportOn("tensorflow", { backend: "auto", gpu: true }, never);
      assert.deepEqual([gpu.state, gpu.fault], ["absent", true]);
      assert.match(gpu.advice!, /setup:native -- --gpu .*setup-native --gpu/);
    }));

  it("a GPU that is asked for must compute: the package for CPUs is none, one that sees no GPU is broken", async () => {
    const asked = { backend: "auto", gpu: true } as const;
    await withNative("cpu", async () => {
      const report = await reportOn("tensorflow", asked, { check: () => assert.fail("there is nothing to check") });
      assert.deepEqual([report.state, report.reason], ["absent", "@tensorflow/tfjs-node-gpu is not installed"]);
    });
    await withNative("gpu", async () => {
      const on = (gpu: boolean) => checked({ native: { ...native, gpu, kernels: false } });
      const { state, fault, reason } = await reportOn("tensorflow", asked, on(false));
      assert.deepEqual([state, fault], ["broken", true]);
      assert.match(reason!, /sees no GPU/);
      assert.equal((await reportOn("tensorflow", asked, on(true))).state, "right");
      const plain = await reportOn("tensorflow", AUTO, on(false));
      assert.deepEqual([plain.state, plain.fault], ["right", false], "nobody asked for a GPU");
      assert.match(plain.advice!, /faster with the project's kernels/);
    });
  });

  it("a native package that is there and cannot be loaded is broken, in a process of its own", () =>
    withNative("cpu", async () => {
      const { state, fault, reason } = await reportOn("tensorflow", AUTO);
      assert.deepEqual([state, fault], ["broken", true]);
      assert.match(reason!, /tfjs-node .* cannot be loaded|has no built addon/);
    }));

  it("looks at what is asked for", async () => {
    assert.deepEqual(backendsOf(AUTO), ["tensorflow", "wasm", "cpu"]);
    assert.deepEqual(backendsOf({ backend: "cpu", gpu: false }), ["cpu"]);
    assert.deepEqual(backendsOf({ backend: "auto", gpu: true }), ["tensorflow"]);
    await assert.rejects(diagnose({ backend: "webgl" as "cpu" }), InputError);
    await assert.rejects(
      diagnose({ backend: "wasm", gpu: true }),
      /expected one of auto, tensorflow with gpu, received "wasm"/,
    );
  });

  it("says versions, hardware and settings, and nothing that is secret", async () => {
    const secret = "hf_0123456789";
    const variables = { HF_TOKEN: secret, TF_VAR_password: secret, PALIGEMMA_NUM_THREADS: "2" };
    Object.assign(process.env, variables);
    try {
      const tools = { check: checked().check }; // the memory is measured
      const found = await diagnose({ backend: "wasm" }, tools);
      assert.equal(found.ok, true);
      assert.equal(found.versions.node, process.versions.node);
      for (const version of [found.versions.tfjs, found.versions.sharp, found.versions.libvips]) {
        assert.match(version, /^\d+\.\d+\.\d+/);
      }
      assert.ok(found.processor.count >= found.processor.usable && found.processor.usable > 0);
      assert.ok(found.memory.availableBytes > 0 && found.memory.availableBytes <= found.memory.totalBytes);
      assert.ok(found.memory.bandwidth > 0.1 && found.memory.bandwidth < 1e5, String(found.memory.bandwidth));
      assert.equal(found.environment.PALIGEMMA_NUM_THREADS, "2");
      assert.ok(!JSON.stringify(found).includes(secret));
      assert.equal((await diagnose({ backend: "wasm" }, off({ scaled: 1 }))).ok, false);
    } finally {
      for (const name of Object.keys(variables)) delete process.env[name];
    }
  });

  it("measures memory for as long as it is told", async () => {
    const start = performance.now();
    assert.ok((await memoryBandwidth(50)) > 0.1);
    assert.ok(performance.now() - start > 50);
  });

  it("asks NVIDIA's tool for devices, and takes its absence for none", async () => {
    const answer = (code: number, stdout: string) => async () => ({ code, stdout, stderr: "", timedOut: false });
    const two = await gpus(answer(0, "NVIDIA H200, 143771 MiB, 570.1\nNVIDIA L4, 23034 MiB, 570.1\n"));
    assert.deepEqual(two.devices, ["NVIDIA H200, 143771 MiB, 570.1", "NVIDIA L4, 23034 MiB, 570.1"]);
    assert.ok(isSeen(two));
    assert.deepEqual((await gpus(answer(127, "not found"))).devices, []);
    assert.equal(isSeen({ devices: [], files: [], driver: null, library: null }), false);
    assert.equal(isSeen({ devices: [], files: [], driver: null, library: "/usr/lib64/libcuda.so.1" }), true);
  });

  describe("in words", () => {
    const diagnosis = async (): Promise<Diagnosis> => {
      const found = await diagnose({ backend: "wasm" }, off({ scaled: 1 }));
      const gpu = {
        devices: ["NVIDIA H200, 143771 MiB, 570.1"],
        files: [],
        driver: "x ".repeat(90).trim(),
        library: null,
      };
      const absent = await reportOn("tensorflow", { backend: "auto", gpu: true }, checked());
      return { ...found, gpu, backends: [absent, ...found.backends], environment: { A: "1", B: "2" } };
    };

    it("keeps to 80 columns, with what to do beside what is wrong", () =>
      withNative(null, async () => {
        const lines = describeDiagnosis(await diagnosis()).split("\n");
        for (const line of lines) assert.ok(line.length <= 80, line);
        const text = lines.join("\n");
        assert.match(text, /^gpu {9}NVIDIA H200, 143771 MiB, 570\.1\n {12}no device file\n/m);
        assert.match(text, /^settings {4}A=1\n {12}B=2\n/m);
        assert.match(
          text,
          /^tensorflow {2}absent: @tensorflow\/tfjs-node-gpu is not installed\n {12}-> npm run setup:native/m,
        );
        assert.match(text, /^wasm {8}WRONG: projector\.hook_out is off by 1\.0e\+0\n {12}kernels avx2 .*3 threads\n/m);
        assert.match(text, /first token 123 ms, each further 5\.7 ms\n {12}-> use another backend/);
        assert.match(text, /^WRONG {7}something is wrong, see above\n$/m);
      }));

    it("ends well where all is right", async () => {
      const text = describeDiagnosis(await diagnose({ backend: "wasm" }, checked()));
      assert.match(text, /^wasm {8}kernels avx2 /m);
      assert.match(text, /^ok {10}all that is here or was asked for is right\n$/m);
      assert.ok(!text.includes("->"));
    });
  });

  it("the reference lies in the package, and is another one than those of the tests", async () => {
    const { files } = JSON.parse(readFileSync(path.join(packageRoot(), "package.json"), "utf8")) as { files: string[] };
    assert.ok(files.includes("weights/demo") && files.includes("weights/demo-reference"));
    const { taps, prompts, greedy } = await demoReference();
    assert.deepEqual(prompts, ["caption en"]);
    assert.ok(greedy[0]!.length > 8);
    const blocks = [...taps.keys()].filter((name) => /^(vision|language)\.blocks\.\d\.hook_resid_post$/.test(name));
    assert.deepEqual([blocks.length, taps.size], [8, 11]);
    assert.ok(taps.has("projector.hook_out") && taps.has("language.ln_final.hook_out"));
  });

  it(`ends with 1 and one sentence where what is asked for is absent, and prints the report all the same${LONG}`, () =>
    withNative(null, async () => {
      const { code, stdout, stderr } = await cli("doctor", "--gpu");
      assert.deepEqual([code, stderr], [1, "doctor: tensorflow: @tensorflow/tfjs-node-gpu is not installed\n"]);
      assert.match(stdout, /^tensorflow {2}absent: /m);
      const json = await cli("doctor", "--backend", "wasm", "--json");
      const { ok, backends } = JSON.parse(json.stdout) as Diagnosis;
      assert.deepEqual([json.code, json.stderr, ok], [0, "", true]);
      assert.equal(backends[0]!.checked!.demo.text, "a purple triangle, an orange cross and a pink square");
    }));
});

onEachBackend(longOnCpu("doctor checks"), (backend) => {
  it("the backend: within the limit, the reference's tokens, and the demo's answer from a picture in a file", async () => {
    const result = await checkHere({ backend });
    assert.ok(result.ok, JSON.stringify(result));
    const { parity, demo, threads } = result.checked;
    assert.ok(parity.scaled < TOLERANCE && parity.scaled > 0);
    assert.deepEqual([parity.hooks, parity.limit, parity.tokensEqual], [11, TOLERANCE, true]);
    assert.equal(demo.text, "a purple triangle, an orange cross and a pink square");
    assert.ok(demo.firstToken > 0 && demo.furtherToken > 0 && threads >= 1);
  });

  it("and one number that is off by twice the limit is seen", async () => {
    const [folder, reference] = [await openFolder(demoCheckpoint()), await demoReference()];
    const model = await loadNetwork(folder, await loadConfig(folder), EXACT, { dtype: "float32" });
    for (const name of ["vision.blocks.3.hook_resid_post", "language.blocks.2.hook_resid_post"]) {
      const tap = reference.taps.get(name)!;
      const values = Float32Array.from(tap.values);
      const peak = values.reduce((most, value) => Math.max(most, Math.abs(value)), 1);
      values[777]! += 2 * TOLERANCE * peak;
      const taps = new Map(reference.taps).set(name, { ...tap, values });
      const { hooks } = compareHooks(model, { ...reference, taps });
      assert.deepEqual(
        hooks.filter(({ scaled }) => !(scaled <= TOLERANCE)).map((hook) => hook.name),
        [name],
      );
    }
    model.dispose();
  });
});
