import { readdirSync } from "node:fs";
import os from "node:os";
import path from "node:path";

/** The release of tfjs-node and tfjs-node-gpu that everything here is checked against; upstream has made none since. */
export const TFJS_NODE_VERSION = "4.22.0";
/** The TensorFlow whose C library the addon is built against: 2.16 and later have bf16 kernels on every device. */
export const TENSORFLOW_VERSION = "2.21.0";

/** One of the two packages that register the backend "tensorflow". */
export type NativePackage = "@tensorflow/tfjs-node" | "@tensorflow/tfjs-node-gpu";

/** The package for a device. */
export const nativePackage = (gpu: boolean): NativePackage =>
  gpu ? "@tensorflow/tfjs-node-gpu" : "@tensorflow/tfjs-node";

/** The PyPI wheel that carries libtensorflow for a device. */
export const wheelName = (gpu: boolean): string => (gpu ? "tensorflow" : "tensorflow-cpu");

/**
 * The folder for everything that setup makes: `$PALIGEMMA_NATIVE_DIR`, else `paligemma-tfjs` under `$XDG_CACHE_HOME`,
 * else under `~/.cache`. It lies outside `node_modules` because npm removes from there what it did not put there, and
 * `npm ci` everything; the built addon then serves every checkout of the user.
 */
export function cacheFolder(env: NodeJS.ProcessEnv = process.env): string {
  if (env.PALIGEMMA_NATIVE_DIR) return path.resolve(env.PALIGEMMA_NATIVE_DIR);
  return path.join(env.XDG_CACHE_HOME || path.join(os.homedir(), ".cache"), "paligemma-tfjs");
}

/**
 * Where one setup keeps its parts. Each is absent or complete: it is made beside its place and moved in by a rename.
 */
export interface NativeLayout {
  /** The downloaded wheels. */
  wheels: string;
  /** The part of the wheel (and of the nvidia wheels) that the addon is built against and runs on. */
  libtensorflow: string;
  /** The npm package without its addon, as npm installed it. */
  pristine: string;
  /** The npm package with its addon: what the loader looks for. */
  ready: string;
}

/**
 * The layout under a cache folder; names carry versions, system and device, so that an update never meets old parts.
 */
export function nativeLayout(gpu: boolean, cache = cacheFolder()): NativeLayout {
  const system = `${process.platform}-${process.arch}`;
  const addon = gpu ? "tfjs-node-gpu" : "tfjs-node";
  return {
    wheels: path.join(cache, "wheels"),
    libtensorflow: path.join(cache, `lib${wheelName(gpu)}-${TENSORFLOW_VERSION}-${system}`),
    pristine: path.join(cache, `${addon}-${TFJS_NODE_VERSION}-npm`),
    ready: path.join(cache, `${addon}-${TFJS_NODE_VERSION}-tensorflow-${TENSORFLOW_VERSION}-${system}`),
  };
}

/** The folder of the npm package inside a folder that npm installed it in. */
export const packageFolder = (root: string, gpu: boolean): string =>
  path.join(root, "node_modules", nativePackage(gpu));

/** A symbolic link: `at` is relative to the package folder, `to` relative to the unpacked wheel. */
export interface Link {
  at: string;
  to: string;
}

/**
 * The links that make an unpacked wheel look like the `deps` folder which tfjs-node's binding.gyp expects.
 *
 * The wheel has no libtensorflow.so: the linker asks for `-ltensorflow` and gets libtensorflow_cc.so.2, whose own name
 * is what the addon then asks for at run time, so both names are needed. The nvidia libraries are linked into the same
 * folder, the one that the addon (by its rpath) and libtensorflow (by `$ORIGIN`) search.
 */
export function depsLinks(nvidiaLibraries: string[] = []): Link[] {
  return [
    { at: "deps/include", to: "tensorflow/include" },
    { at: "deps/lib/libtensorflow.so", to: "tensorflow/libtensorflow_cc.so.2" },
    { at: "deps/lib/libtensorflow_cc.so.2", to: "tensorflow/libtensorflow_cc.so.2" },
    { at: "deps/lib/libtensorflow_framework.so", to: "tensorflow/libtensorflow_framework.so.2" },
    { at: "deps/lib/libtensorflow_framework.so.2", to: "tensorflow/libtensorflow_framework.so.2" },
    ...nvidiaLibraries.map((file) => ({ at: `deps/lib/${path.posix.basename(file)}`, to: file })),
  ];
}

/**
 * The `nvidia/<package>/lib/*.so*` files of an unpacked wheel folder, relative to it; none when there is no GPU part.
 */
export function nvidiaLibraries(libtensorflow: string): string[] {
  const found: string[] = [];
  for (const name of list(path.join(libtensorflow, "nvidia"))) {
    for (const file of list(path.join(libtensorflow, "nvidia", name, "lib"))) {
      if (/\.so(\.|$)/.test(file)) found.push(`nvidia/${name}/lib/${file}`);
    }
  }
  return found;
}

/** The names in a folder, sorted; none when it is absent. */
export function list(folder: string): string[] {
  try {
    return readdirSync(folder).sort();
  } catch {
    return [];
  }
}
