/**
 * Fields of configs that Python declares as floats: transformers 5 refuses a whole number there. Source:
 * configuration_{gemma2,siglip}.py.
 */
const FLOATS = [
  "attention_dropout",
  "attn_logit_softcapping",
  "final_logit_softcapping",
  "initializer_range",
  "layer_norm_eps",
  "rms_norm_eps",
  "rope_theta",
];

/** Names of the fields that some JSON text spells as floats with a whole value, "3.0": in JavaScript they are 3. */
export const floatFields = (text: string): Set<string> =>
  new Set([...text.matchAll(/"([^"\\]+)"\s*:\s*-?\d+\.0+(?=[\s,}])/g)].map(([, name]) => name));

/** A JSON file as Python writes it: indented, and whole numbers of `floats` and of known float fields with a point. */
export function jsonFile(value: object, floats: ReadonlySet<string> = new Set()): Uint8Array {
  const names = new Set([...FLOATS, ...floats]);
  const lines = JSON.stringify(value, null, 2).split("\n");
  const spelled = lines.map((line) => {
    const [, head, name, number, tail] = /^(\s*"([^"\\]+)": )(-?\d+)(,?)$/.exec(line) ?? [];
    return name !== undefined && names.has(name) ? `${head}${number}.0${tail}` : line;
  });
  return new TextEncoder().encode(`${spelled.join("\n")}\n`);
}
