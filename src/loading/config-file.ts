import { openWeights } from "../../weights/open-weights.js";
import { findWeights } from "../../weights/find-weights.js";
import { decodeUtf8, parseJson } from "../../weights/json.js";
import { EMBEDDING } from "../../weights/names.js";
import type { Folder } from "../../weights/byte-source.js";
import { longestJson } from "../../weights/source.js";
import { ConfigError } from "../base/errors.js";
import { configOfPreset, isKerasConfig } from "./keras-preset.js";
import { configOfShapes } from "./known-variants.js";

const CONFIG = "config.json";

/**
 * A model's config in the words of Hugging Face's config.json, unchecked, what errors call it, and the text that it was
 * read from.
 */
export type ConfigFile = { json: unknown; where: string; text: string };

/**
 * The config of a model folder. For an archive of big_vision, which has none, it is that of the variant that its shapes
 * are, or config.json beside it with the vocabulary that the archive has: published ones end before `<image>`, and no
 * row is made up. A preset of keras-hub has its own, which is put into Hugging Face's words. Throws `ConfigError` where
 * there is none, and `WeightsError` as opening the archive does.
 */
export async function readConfigFile(folder: Folder): Promise<ConfigFile> {
  const where = `${folder.name}/${CONFIG}`;
  const there = await folder.has(CONFIG);
  const text = there ? decodeUtf8(await folder.readBytes(CONFIG, longestJson(CONFIG)), where) : "";
  const written = there ? parseJson(text, where) : null;
  const found = await findWeights(folder);
  if (found?.form === "big_vision") return { json: await bigVisionConfig(folder, written), where, text };
  if (isKerasConfig(written)) return { json: configOfPreset(written, where), where, text: "" };
  if (written !== null) return { json: written, where, text };
  throw new ConfigError(
    `${folder.name}: there is no config.json; expected a Hugging Face PaliGemma folder (config.json, *.safetensors, tokenizer)`,
  );
}

async function bigVisionConfig(folder: Folder, written: unknown): Promise<unknown> {
  const checkpoint = await openWeights(folder);
  const shapes = new Map([...checkpoint.entries].map(([name, { shape }]) => [name, shape]));
  await checkpoint.close();
  if (written === null) return configOfShapes(shapes, folder.name);
  const { text_config: text } = written as { text_config?: unknown };
  const rows = shapes.get(EMBEDDING)?.[0];
  return { ...(written as object), text_config: { ...(text as object), vocab_size: rows } };
}
