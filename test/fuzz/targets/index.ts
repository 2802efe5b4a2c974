import { adapterConfigs, adapters } from "./adapter.js";
import { lines } from "./batch.js";
import { configs, processors, tokenizers } from "./config.js";
import { h5Files, kerasIndexes, presets } from "./keras.js";
import { archives, npy } from "./npz.js";
import { quantised } from "./quantised.js";
import { headers, indexes } from "./safetensors.js";

/** Everything that reads what comes from outside. */
export const TARGETS = [
  ...[headers, indexes, npy, archives, quantised],
  ...[h5Files, kerasIndexes, presets],
  ...[adapterConfigs, adapters, configs, processors, tokenizers, lines],
];
