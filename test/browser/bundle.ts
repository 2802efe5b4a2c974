import { readdirSync } from "node:fs";
import path from "node:path";

import { build } from "esbuild";

import { packageRoot } from "../../src/base/package-root.js";

/** What a browser can load: rooms of `src` as a whole, the layers, and a checkpoint's weights. */
export const BROWSER_PARTS: Readonly<Record<string, readonly string[]>> = {
  layers: ["layers/index.ts"],
  "weights/checkpoint": ["weights/checkpoint.ts", "weights/safetensors-files.ts"],
  "src/model": filesOf("src/model"),
  "src/hooks": filesOf("src/hooks"),
  "src/decoding": filesOf("src/decoding"),
  "src/inspection": filesOf("src/inspection"),
};

/** Bytes of a bundle: those of this project, and of libraries. */
export type BundleSize = { own: number; libraries: number };

function filesOf(folder: string): string[] {
  const files = readdirSync(path.join(packageRoot(), folder), { recursive: true }) as string[];
  return files.filter((file) => file.endsWith(".ts")).map((file) => `${folder}/${file}`);
}

/**
 * Bundles files for a browser, as esbuild minifies them. Throws esbuild's error for whatever cannot be resolved there,
 * such as a module of Node.
 */
export async function bundleForBrowser(files: readonly string[], root = packageRoot()): Promise<BundleSize> {
  const contents = files.map(
    (file) => `import * as _${file.replaceAll(/\W/g, "_")} from "./${file}"; use(_${file.replaceAll(/\W/g, "_")});`,
  );
  const { metafile } = await build({
    stdin: {
      contents: ["declare const use: (x: unknown) => void;", ...contents].join("\n"),
      resolveDir: root,
      loader: "ts",
    },
    platform: "browser",
    format: "esm",
    bundle: true,
    minify: true,
    metafile: true,
    write: false,
    logLevel: "silent",
  });
  const size: BundleSize = { own: 0, libraries: 0 };
  for (const { inputs } of Object.values(metafile.outputs)) {
    for (const [file, { bytesInOutput }] of Object.entries(inputs)) {
      size[file.includes("node_modules/") ? "libraries" : "own"] += bytesInOutput;
    }
  }
  return size;
}
