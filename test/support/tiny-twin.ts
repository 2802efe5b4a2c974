import { readFile, writeFile } from "node:fs/promises";
import path from "node:path";

import { memorySource, readHeader, type TensorData, writeSafetensors } from "../../weights/index.js";
import { tinyFolder } from "./tiny.js";

const TABLE = "language_model.model.embed_tokens.weight";

/**
 * Writes a copy of a tiny checkpoint into `folder` whose token table ends before `<image>`, as it does in archives of
 * big_vision and presets of Keras; `text` changes fields of its text_config. Returns `folder`.
 */
export async function writeTwin(name: string, folder: string, text: object = {}): Promise<string> {
  const source = memorySource(name, await readFile(path.join(tinyFolder(name), "model.safetensors")));
  const tensors = new Map<string, TensorData>();
  for (const { name, dtype, shape, start, end } of (await readHeader(source)).tensors.values()) {
    const rows = name === TABLE ? [299, ...shape.slice(1)] : shape;
    const size = ((end - start) / shape[0]) * rows[0];
    tensors.set(name, { dtype, shape: rows, data: await source.read(start, start + size) });
  }
  await writeSafetensors(path.join(folder, "model.safetensors"), tensors);
  const config = JSON.parse(await readFile(path.join(tinyFolder(name), "config.json"), "utf8")) as {
    text_config: object;
  };
  const changed = { ...config, text_config: { ...config.text_config, vocab_size: 299, ...text } };
  await writeFile(path.join(folder, "config.json"), JSON.stringify(changed));
  return folder;
}
