// A process of its own: which kernels a process uses is decided when TensorFlow is loaded.
import { compareDtypes } from "./compare-dtypes.js";

console.log(JSON.stringify(await compareDtypes("bfloat16", "wasm", 9)));
