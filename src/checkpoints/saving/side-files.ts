import { TOKENIZER_FILES } from "../../../weights/model-files.js";
import type { Folder } from "../../../weights/byte-source.js";
import { numImageTokens, type PaliGemmaConfig } from "../../model/config.js";
import { tokenizerFolder } from "../../loading/keras-preset.js";
import { MASK_FILES } from "../../masks/codec-loader.js";
import { jsonFile } from "./json-file.js";

/** Files by name, whole. */
export type SideFiles = Map<string, Uint8Array>;

const GENERATION = "generation_config.json";
const PREPROCESSOR = "preprocessor_config.json";
const PROCESSOR = "processor_config.json";

/** Whether a file may be one of those beside the weights and config.json. */
export const isSideFile = (name: string): boolean =>
  [...TOKENIZER_FILES, GENERATION, PREPROCESSOR, PROCESSOR, ...MASK_FILES].includes(name);

/**
 * All files of a saved model but config.json and the weights: copies of what lies in the folders of the model and of
 * its tokenizer, and made of the config where a file is missing. Throws as reading a folder does.
 */
export async function sideFiles(
  config: PaliGemmaConfig,
  folder: Folder | null,
  tokenizer: Folder | null,
): Promise<SideFiles> {
  const files: SideFiles = new Map();
  const copy = async (from: Pick<Folder, "has" | "readBytes">, names: readonly string[]): Promise<void> => {
    for (const name of names) if (await from.has(name)) files.set(name, await from.readBytes(name));
  };
  if (tokenizer !== null) await copy(await tokenizerFolder(tokenizer), TOKENIZER_FILES);
  if (folder !== null) await copy(folder, [GENERATION, PREPROCESSOR, PROCESSOR, ...MASK_FILES]);
  if (!files.has(GENERATION)) files.set(GENERATION, jsonFile(generationFields(config)));
  if (!files.has(PREPROCESSOR) && !files.has(PROCESSOR))
    files.set(PREPROCESSOR, jsonFile(preprocessorFields(config.vision.imageSize, numImageTokens(config))));
  // Without it transformers does not know whose tokenizer.model it is.
  if (files.has("tokenizer.model") && !files.has("tokenizer_config.json")) {
    files.set("tokenizer_config.json", jsonFile(tokenizerConfig(config)));
  }
  return files;
}

/** generation_config.json. Source: google/paligemma-3b-pt-224. */
export const generationFields = ({
  bosTokenId,
  eosTokenIds,
  padTokenId,
}: Pick<PaliGemmaConfig, "bosTokenId" | "eosTokenIds" | "padTokenId">): object => ({
  _from_model_config: true,
  bos_token_id: bosTokenId,
  eos_token_id: eosTokenIds.length === 1 ? eosTokenIds[0] : eosTokenIds,
  pad_token_id: padTokenId,
});

/**
 * preprocessor_config.json, for square pictures of `imageSize` pixels that become `imageTokens` rows. Source:
 * google/paligemma-3b-pt-224.
 */
export function preprocessorFields(imageSize: number, imageTokens: number): object {
  return {
    do_convert_rgb: null,
    do_normalize: true,
    do_rescale: true,
    do_resize: true,
    image_mean: [0.5, 0.5, 0.5],
    image_processor_type: "SiglipImageProcessor",
    image_seq_length: imageTokens,
    image_std: [0.5, 0.5, 0.5],
    processor_class: "PaliGemmaProcessor",
    resample: 3,
    rescale_factor: 1 / 255,
    size: { height: imageSize, width: imageSize },
  };
}

/**
 * Of a vocabulary that comes alone. Without a null GemmaTokenizer would give `<mask>` the id of `<image>` where no
 * piece is called so.
 */
function tokenizerConfig({ imageTokenId }: PaliGemmaConfig): object {
  const image = {
    content: "<image>",
    lstrip: false,
    normalized: false,
    rstrip: false,
    single_word: false,
    special: true,
  };
  return {
    add_bos_token: false,
    add_eos_token: false,
    added_tokens_decoder: { [imageTokenId]: image },
    additional_special_tokens: ["<image>"],
    bos_token: "<bos>",
    clean_up_tokenization_spaces: false,
    eos_token: "<eos>",
    mask_token: null,
    pad_token: "<pad>",
    processor_class: "PaliGemmaProcessor",
    tokenizer_class: "GemmaTokenizer",
    unk_token: "<unk>",
  };
}
