import type { NativePackage } from "./layout.js";

/** What was loaded for the backend "tensorflow". */
export interface NativeInfo {
  packageName: NativePackage;
  /** Of the C library in use, "2.21.0" when setup built it, "2.9.1" for the package's own download. */
  tensorflowVersion: string;
  /** Whether TensorFlow found a GPU that it can use; a GPU package without one runs on the CPU. */
  gpu: boolean;
  /** The package's folder. */
  folder: string;
  /** Whether the project's own kernels are built for it: weights in 16 bit, and speed. */
  kernels: boolean;
}
