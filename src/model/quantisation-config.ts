import type { ConfigFields } from "./config-fields.js";
import { ConfigError } from "../base/errors.js";

/** What a config says of packed weights: by transformers, and by MLX. */
const FIELDS = ["quantization_config", "quantization"];

/**
 * Refuses a config whose weights are quantised by anything but bitsandbytes, naming the method. Throws `ConfigError`.
 * Source: huggingface/transformers 5.18, quantizers/auto.py (a missing `quant_method` is that of bitsandbytes where a
 * `load_in_` field is).
 */
export function refuseOtherQuantisation(config: ConfigFields): void {
  for (const name of FIELDS) {
    const fields = config.optionalObject(name);
    if (fields === null || isBitsandbytes(fields)) continue;
    const method = fields.raw("quant_method");
    const what =
      method === undefined && fields.has("group_size") ? "MLX's quantisation" : JSON.stringify(method ?? null);
    throw new ConfigError(
      `${config.at(name)}: the weights are quantised by ${what}, expected bitsandbytes (NF4, FP4, int8); ` +
        "take the checkpoint that it was made from, and pack it with --dtype nf4 or int8 if need be",
    );
  }
}

function isBitsandbytes(fields: ConfigFields): boolean {
  const method = fields.raw("quant_method");
  if (method !== undefined) return method === "bitsandbytes";
  return fields.has("load_in_4bit") || fields.has("load_in_8bit");
}
