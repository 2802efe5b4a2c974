import { readFileSync } from "node:fs";
import { release } from "node:os";
import path from "node:path";

import * as tf from "@tensorflow/tfjs";
import sharp from "sharp";

import { findNative } from "../backends/native/load.js";
import { packageVersion } from "../base/version.js";

/** What runs, and where. */
export type Versions = {
  /** For example "linux x64 6.1.0, glibc 2.36". */
  system: string;
  node: string;
  package: string;
  tfjs: string;
  /**
   * The native packages that are there, in the order in which they are tried; TensorFlow's own version is its
   * backend's.
   */
  native: { name: string; version: string; folder: string }[];
  sharp: string;
  libvips: string;
};

/** The versions of this process and of what it would load; nothing is loaded. */
export function versions(): Versions {
  return {
    system: `${process.platform} ${process.arch} ${release()}${libc()}`,
    node: process.versions.node,
    package: packageVersion(),
    tfjs: tf.version.tfjs,
    native: findNative().map(({ packageName, folder }) => ({ name: packageName, version: versionIn(folder), folder })),
    sharp: sharp.versions.sharp ?? "",
    libvips: sharp.versions.vips,
  };
}

function versionIn(folder: string): string {
  try {
    return (JSON.parse(readFileSync(path.join(folder, "package.json"), "utf8")) as { version: string }).version;
  } catch {
    return "of no version";
  }
}

/** The C library that wheels and prebuilt addons ask for; elsewhere than on Linux with glibc it is not said. */
function libc(): string {
  const { header } = process.report.getReport() as { header: { glibcVersionRuntime?: string } };
  return header.glibcVersionRuntime === undefined ? "" : `, glibc ${header.glibcVersionRuntime}`;
}
