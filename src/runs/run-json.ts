import { isObject, parseStrictJson, shown } from "../../weights/json.js";
import { WeightsError } from "../../weights/errors.js";
import { checkedBytes, isSizes } from "../../weights/tensor-data.js";
import { InputError } from "../base/errors.js";
import type { StoredRun, StoredTensor } from "../inspection/stored-run.js";

/** Most bytes of numbers (four each) that are written as JSON, which takes several times as much. */
export const MAX_JSON_NUMBERS = 1_000_000;

/**
 * A run as JSON text: {"metadata": {key: text}, "tensors": {name: {"shape": [...], "data": [...]}}}, NaN and infinities
 * as strings. Every number comes back as it was. Throws `InputError` above `MAX_JSON_NUMBERS`, `WeightsError` where
 * shape and data differ.
 */
export function encodeRunJson(
  tensors: ReadonlyMap<string, StoredTensor>,
  metadata: Readonly<Record<string, string>>,
  where: string,
): string {
  const bytes = [...tensors.values()].reduce((sum, { data }) => sum + data.byteLength, 0);
  if (bytes > MAX_JSON_NUMBERS) {
    const size = `${(bytes / 1e6).toFixed(1)} MB of numbers, JSON takes at most ${MAX_JSON_NUMBERS / 1e6} MB`;
    throw new InputError(`${where}: ${size}; write .safetensors or .npz, or fewer activations`);
  }
  // Built as text: an object would put names such as "7" first and lose "__proto__".
  const entries = [...tensors].map(([name, { shape, data }]) => {
    checkedBytes({ dtype: "F32", shape, data }, `${where}: tensor ${shown(name)}`);
    return `${JSON.stringify(name)}:{"shape":[${shape.join()}],"data":[${Array.from(data, numberText).join()}]}`;
  });
  return `{"metadata":${JSON.stringify(metadata)},\n"tensors":{${entries.join(",\n")}}}\n`;
}

function numberText(value: number): string {
  if (!Number.isFinite(value)) return `"${value}"`;
  return Object.is(value, -0) ? "-0" : String(value);
}

/** Reads what `encodeRunJson` wrote. Throws `WeightsError` naming `where` and the tensor for anything else. */
export function decodeRunJson(text: string, where: string): Pick<StoredRun, "tensors" | "metadata"> {
  const json = parseStrictJson(text, where);
  if (!isObject(json) || !isObject(json.tensors)) {
    throw new WeightsError(`${where} is no run: expected {"metadata": {...}, "tensors": {...}}, found ${shown(json)}`);
  }
  const tensors = new Map<string, StoredTensor>();
  for (const [name, value] of Object.entries(json.tensors)) {
    tensors.set(name, tensorOf(value, `${where}: tensor ${shown(name)}`));
  }
  return { tensors, metadata: checkedMetadata(json.metadata ?? {}, where) };
}

/** Metadata as files bring it; throws `WeightsError` naming `where` for anything but an object of strings. */
export function checkedMetadata(value: unknown, where: string): Record<string, string> {
  const isText = isObject(value) && Object.values(value).every((text) => typeof text === "string");
  if (isText) return value as Record<string, string>;
  throw new WeightsError(`${where} has the metadata ${shown(value)}, expected an object of strings`);
}

const SPECIAL = new Map<unknown, number>([NaN, Infinity, -Infinity].map((value) => [String(value), value]));

function tensorOf(value: unknown, where: string): StoredTensor {
  if (!isObject(value) || !isSizes(value.shape) || !Array.isArray(value.data)) {
    throw new WeightsError(`${where} is ${shown(value)}, expected a shape and data`);
  }
  const data = Float32Array.from(value.data, (one: unknown, i) => {
    const number = typeof one === "number" ? one : SPECIAL.get(one);
    if (number !== undefined) return number;
    throw new WeightsError(`${where} has ${shown(one)} as value ${i}, expected a number`);
  });
  checkedBytes({ dtype: "F32", shape: value.shape, data }, where);
  return { shape: value.shape, data };
}
