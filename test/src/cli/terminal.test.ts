import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { writeFileSync } from "node:fs";
import path from "node:path";
import { pathToFileURL } from "node:url";
import { promisify } from "node:util";

import { controlsOf, guardTerminal, visible } from "../../../src/cli/terminal.js";
import { packageRoot } from "../../../src/base/package-root.js";
import { encodeSafetensors } from "../../../weights/safetensors.js";
import { LONG } from "../../support/backends.js";
import { inTemporaryFolder } from "../../support/temporary.js";

const run = promisify(execFile);

/** A stream that keeps what is written to it. */
function screen(isTTY: boolean) {
  const written: unknown[] = [];
  const stream = { isTTY, columns: 97, write: (chunk: unknown) => written.push(chunk) > 0 };
  return { written, stream: stream as unknown as NodeJS.WriteStream };
}

/**
 * Runs a command with a terminal in place of its streams, and gives what the terminal got; null where no `script` makes
 * one.
 */
async function onTerminal(command: string): Promise<string | null> {
  const { stdout } = await run("script", ["--version"]).catch(() => ({ stdout: "" }));
  if (!stdout.includes("util-linux")) return null;
  const typed = await run("script", ["-qec", command, "/dev/null"], { cwd: packageRoot(), encoding: "utf8" }).catch(
    (error: { stdout: string }) => error,
  );
  return typed.stdout;
}

/** Sets a colour, clears the screen in one byte, hides, writes backwards. */
const HOSTILE = "\u001b[31mred\u0007\u009b2J\u007f\u202eevil\u2069\r";
const SHOWN = "\u241b[31mred\u2407\\u009b2J\u2421\\u202eevil\\u2069\u240d";

describe("cli/terminal", () => {
  it("shows every control character but line feed and tab, and every mark that turns the direction", () => {
    assert.equal(visible(HOSTILE), SHOWN);
    const all = Array.from({ length: 0x10000 }, (_, code) => String.fromCharCode(code));
    const changed = all.filter((character) => visible(character) !== character).map((one) => one.charCodeAt(0));
    const range = (from: number, to: number) => Array.from({ length: to - from + 1 }, (_, i) => from + i);
    assert.deepEqual(changed, [
      ...range(0, 8),
      ...range(11, 31),
      ...range(127, 159),
      ...range(0x202a, 0x202e),
      ...range(0x2066, 0x2069),
    ]);
    for (const code of changed)
      assert.equal(visible(visible(all[code]!)), visible(all[code]!), "what is shown is plain");
    const text = "caption fa: \u06cc\u06a9\u200c\u0645\u0631\u0628\u0639, \u0e2a\u0e35, \ud83d\ude00\tend\n";
    assert.equal(visible(text), text);
  });

  it("is asked of everything that a terminal gets, text or bytes, in whatever pieces", () => {
    const { written, stream } = screen(true);
    guardTerminal(stream);
    guardTerminal(stream); // a second time changes nothing
    stream.write(HOSTILE);
    const bytes = Buffer.from("\u00e9\u009b\u20ac");
    for (const byte of bytes) stream.write(Uint8Array.of(byte));
    assert.equal(written.join(""), `${SHOWN}\u00e9\\u009b\u20ac`);
  });

  it("leaves the bytes of a file or a pipe alone", () => {
    const { written, stream } = screen(false);
    const bytes = Buffer.from(HOSTILE);
    guardTerminal(stream);
    stream.write(HOSTILE);
    stream.write(bytes);
    assert.deepEqual(written, [HOSTILE, bytes]);
  });

  it("lets the program's own controls through, with the terminal's width", () => {
    const { written, stream } = screen(true);
    guardTerminal(stream);
    const controls = controlsOf(stream);
    controls.write("\u001b[2K");
    stream.write("\u001b[2K");
    assert.deepEqual(written, ["\u001b[2K", "\u241b[2K"]);
    assert.deepEqual([controls.columns, controls.isTTY], [97, true]);
    const other = screen(true).stream;
    assert.equal(controlsOf(other), other);
  });

  it("holds for other modules, warnings and errors that nothing catches", async function () {
    const module = pathToFileURL(path.join(packageRoot(), "src", "cli", "own-process.ts")).href;
    const source = `import { ownProcess } from ${JSON.stringify(module)};
      ownProcess();
      console.log("log", ${JSON.stringify(HOSTILE)});
      console.error("error", ${JSON.stringify(HOSTILE)});
      process.emitWarning(${JSON.stringify(HOSTILE)});
      setImmediate(() => { throw new Error(${JSON.stringify(`thrown ${HOSTILE}`)}); });`;
    await inTemporaryFolder(async (folder) => {
      const file = path.join(folder, "say.mts");
      writeFileSync(file, source);
      const typed = await onTerminal(`${process.execPath} --import tsx ${file}`);
      if (typed === null) {
        console.log("      (skipped: script of util-linux is not installed)");
        return this.skip();
      }
      const lines = [`log ${SHOWN}`, `error ${SHOWN}`, `warning: ${SHOWN}`, `error: thrown ${SHOWN}`];
      assert.equal(typed.replaceAll("\r\n", "\n"), lines.map((line) => `${line}\n`).join(""));
    });
  });

  it(`names of tensors and of files reach no terminal as they are, and a pipe gets them so${LONG}`, async function () {
    await inTemporaryFolder(async (folder) => {
      const one = { dtype: "F32" as const, shape: [2], data: Float32Array.of(1, 2) };
      const [a, b] = ["a", "b"].map((name) => path.join(folder, `${name}\u001b[5m.safetensors`));
      for (const file of [a, b]) writeFileSync(file, encodeSafetensors(new Map([[`x${HOSTILE}`, one]])));
      const command = [process.execPath, "--import", "tsx", "src/cli.ts", "diff", a, b];
      const typed = await onTerminal(command.map((word) => `'${word}'`).join(" "));
      if (typed === null) return this.skip();
      assert.ok(typed.includes(`x${SHOWN}`), typed);
      assert.ok(!typed.includes("\u001b"), typed);
      const { stdout } = await run(command[0], command.slice(1), { cwd: packageRoot() });
      assert.ok(stdout.includes(`x${HOSTILE}`));
      const absent = [...command.slice(0, -1), path.join(folder, "absent\u001b[5m.safetensors")];
      const wrong = await onTerminal(absent.map((word) => `'${word}'`).join(" "));
      assert.match(wrong!, /^error: .*absent\u241b\[5m\.safetensors: cannot be opened/);
    });
  });
});
