import type { Folder } from "../../../weights/byte-source.js";
import type { PaliGemmaConfig } from "../../model/config.js";
import { ConfigError } from "../../base/errors.js";
import { tokenizerFolder } from "../../loading/keras-preset.js";
import { loadTokenizer, type Tokenizer } from "../../input/tokenizer/tokenizer.js";

/** A tokenizer in short, or why it cannot be used. Ids that no token has are null. */
export type TokenizerSummary =
  | {
      kind: Tokenizer["kind"];
      vocabularySize: number;
      ids: Record<"bos" | "eos" | "pad" | "unk" | "image", number | null>;
      /** Location and segment tokens that are there, of 1024 and 128. */
      locations: number;
      segments: number;
    }
  | { error: string };

/** Reads a folder's tokenizer as a model with that config has it. */
export async function tokenizerSummary(
  folder: Folder,
  { imageTokenId }: Pick<PaliGemmaConfig, "imageTokenId">,
): Promise<TokenizerSummary> {
  try {
    const tokenizer = await loadTokenizer(await tokenizerFolder(folder), { addedTokens: { "<image>": imageTokenId } });
    const { kind, vocabularySize, bosTokenId, eosTokenId, padTokenId, unkTokenId } = tokenizer;
    const count = (name: string, digits: number, all: number): number =>
      Array.from({ length: all }, (_, i) => `<${name}${String(i).padStart(digits, "0")}>`).filter(
        (token) => tokenizer.tokenToId(token) !== undefined,
      ).length;
    const image = tokenizer.imageTokenId ?? null;
    const ids = { bos: bosTokenId ?? null, eos: eosTokenId ?? null, pad: padTokenId ?? null, unk: unkTokenId ?? null };
    const [locations, segments] = [count("loc", 4, 1024), count("seg", 3, 128)];
    return { kind, vocabularySize, ids: { ...ids, image }, locations, segments };
  } catch (error) {
    if (error instanceof ConfigError) return { error: error.message };
    throw error;
  }
}
