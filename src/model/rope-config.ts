import type { ConfigFields } from "./config-fields.js";

/** Kinds of layers that may have rotary parameters of their own. */
const LAYER_TYPES = ["full_attention", "sliding_attention"];

/**
 * The base θ of the rotary angles, from whichever field of a text config has it: `rope_scaling` (before transformers
 * 5), `rope_parameters` (since), in either the same for every type of layer, then `rope_theta`, else 10000. Throws
 * `ConfigError` for positions that are scaled, and for types of layers that differ. Source: huggingface/transformers
 * 5.18, modeling_rope_utils.py `convert_rope_params_to_dict`.
 */
export function parseRopeTheta(fields: ConfigFields): number {
  const plain = fields.positive("rope_theta", 10000);
  const name = ["rope_scaling", "rope_parameters"].find((one) => (fields.optionalObject(one)?.names ?? []).length > 0);
  if (name === undefined) return plain;
  const parameters = fields.object(name);
  const nested = LAYER_TYPES.filter((type) => parameters.raw(type) !== undefined);
  if (nested.length === 0) return thetaOf(parameters, plain);
  if (nested.length < LAYER_TYPES.length) fields.refuse(name, `rotary parameters for ${LAYER_TYPES.join(" and ")}`);
  const thetas = new Set(nested.map((type) => thetaOf(parameters.object(type), plain)));
  if (thetas.size > 1) fields.refuse(name, `one rope_theta for ${nested.join(" and ")}`);
  return [...thetas][0]!;
}

function thetaOf(parameters: ConfigFields, fallback: number): number {
  // "type" is how transformers before 4.43 spells it.
  const kind = parameters.raw("rope_type") === undefined ? "type" : "rope_type";
  if ((parameters.raw(kind) ?? "default") !== "default") {
    parameters.refuse(kind, '"default" (no PaliGemma scales its positions)');
  }
  return parameters.positive("rope_theta", fallback);
}
