import assert from "node:assert/strict";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";

import { compileSources } from "../../src/setup/kernel-build.js";
import { run, type RunResult } from "../../src/backends/native/process.js";
import { findToolchain } from "../../src/setup/tools.js";
import { packageRoot } from "../../src/base/package-root.js";
import { describeWhere } from "../support/describe-where.js";
import { inTemporaryFolder } from "../support/temporary.js";

const OPERANDS = fileURLToPath(new URL("operands.cc", import.meta.url));

/**
 * The compiler's checks of addresses, and of what C++ leaves undefined. Scratch memory is exactly what was asked for.
 */
const CHECKED = [
  "-O1",
  "-g",
  "-fsanitize=address,undefined",
  "-fno-sanitize-recover=undefined",
  "-DPALIGEMMA_EXACT_SCRATCH",
];

/** The mathematics, without what needs TensorFlow or Node. */
const isMathematics = (file: string): boolean =>
  file.startsWith(`kernels${path.sep}`) || ["dispatch.cc", "mapped-file.cc", "pool.cc"].includes(file);

const cxx = await checkingCompiler();
const absent = cxx === null ? "no compiler here whose -fsanitize=address works" : null;

describeWhere({ absent, what: "SANITIZER" }, "the kernels' memory", () => {
  let work: string;
  const program = (...args: string[]): Promise<RunResult> =>
    run(path.join(work, "operands"), args, { env: { ...process.env, ASAN_OPTIONS: "detect_leaks=0" } });

  before(async () => {
    work = await mkdtemp(path.join(tmpdir(), "paligemma-memory-"));
    const objects = await compileSources({ cxx: cxx!, work, flags: CHECKED, wanted: isMathematics }, run);
    const include = `-I${path.join(packageRoot(), "native")}`;
    const args = [
      "-std=c++17",
      "-pthread",
      ...CHECKED,
      include,
      OPERANDS,
      ...objects,
      "-o",
      path.join(work, "operands"),
    ];
    const { code, stderr } = await run(cxx!, args);
    assert.equal(code, 0, stderr);
  });
  after(() => rm(work, { recursive: true, force: true }));

  it("every kernel of every instruction set keeps to its operands, whose sizes lie about each of its steps", async () => {
    const { code, stdout, stderr } = await program();
    assert.equal(code, 0, stderr.slice(0, 4000));
    assert.match(stdout, /^generic$/m);
  });

  it("a row that is read beyond the operand is seen", async () => {
    const { code, stderr } = await program("beyond");
    assert.notEqual(code, 0);
    assert.match(stderr, /AddressSanitizer: heap-buffer-overflow/);
  });
});

/** The compiler here whose programs run with the checks, or null. */
async function checkingCompiler(): Promise<string | null> {
  const toolchain = await findToolchain(run).catch(() => null);
  if (toolchain === null) return null;
  return inTemporaryFolder(async (work) => {
    const [source, target] = [path.join(work, "empty.cc"), path.join(work, "empty")];
    await writeFile(source, "int main() { return 0; }\n");
    const compiled = await run(toolchain.cxx, [...CHECKED, source, "-o", target]);
    return compiled.code === 0 && (await run(target, [])).code === 0 ? toolchain.cxx : null;
  });
}
