import { lines } from "./batch.js";
import { archives, npy } from "./npz.js";
import { headers, indexes } from "./safetensors.js";

/** Everything that reads what comes from outside. */
export const TARGETS = [headers, indexes, npy, archives, lines];
