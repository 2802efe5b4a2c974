import { IMAGE_TOKEN } from "./variants.js";

/**
 * tokenizer.json and tokenizer_config.json of a tokenizer without words: every text becomes its UTF-8 bytes. Special,
 * location, segment and byte tokens have Gemma's own ids, so that any id the model gives is below its vocabulary.
 */
export function standInTokenizer(): { tokenizer: object; config: object } {
  const special = { "<pad>": 0, "<eos>": 1, "<bos>": 2, "<unk>": 3, "<mask>": 4 };
  const bytes = Array.from({ length: 256 }, (_, i) => [`<0x${hexOf(i)}>`, 217 + i] as const);
  const extras = [
    ...Array.from({ length: 1024 }, (_, i) => [`<loc${String(i).padStart(4, "0")}>`, 256000 + i] as const),
    ...Array.from({ length: 128 }, (_, i) => [`<seg${String(i).padStart(3, "0")}>`, 257024 + i] as const),
  ];
  const vocab = { ...special, "\n": 108, ...Object.fromEntries(bytes) };
  const added = [
    ...Object.entries(special).map(([content, id]) => addedToken(content, id, true)),
    addedToken("\n", 108, false),
    ...extras.map(([content, id]) => addedToken(content, id, false)),
    addedToken("<image>", IMAGE_TOKEN, true),
  ];
  return { tokenizer: tokenizerFile(vocab, added), config: TOKENIZER_CONFIG };
}

const hexOf = (byte: number): string => byte.toString(16).toUpperCase().padStart(2, "0");

const addedToken = (content: string, id: number, special: boolean): object => ({
  id,
  content,
  single_word: false,
  lstrip: false,
  rstrip: false,
  normalized: false,
  special,
});

const tokenizerFile = (vocab: object, added: object[]): object => ({
  version: "1.0",
  truncation: null,
  padding: null,
  added_tokens: added,
  normalizer: { type: "Replace", pattern: { String: " " }, content: "▁" },
  pre_tokenizer: { type: "Split", pattern: { String: " " }, behavior: "MergedWithPrevious", invert: false },
  post_processor: null,
  decoder: {
    type: "Sequence",
    decoders: [{ type: "Replace", pattern: { String: "▁" }, content: " " }, { type: "ByteFallback" }, { type: "Fuse" }],
  },
  model: {
    type: "BPE",
    dropout: null,
    unk_token: "<unk>",
    continuing_subword_prefix: null,
    end_of_word_suffix: null,
    fuse_unk: true,
    byte_fallback: true,
    ignore_merges: false,
    vocab,
    merges: [],
  },
});

const TOKENIZER_CONFIG = {
  backend: "tokenizers",
  bos_token: "<bos>",
  eos_token: "<eos>",
  extra_special_tokens: ["<image>"],
  mask_token: "<mask>",
  pad_token: "<pad>",
  tokenizer_class: "GemmaTokenizer",
  unk_token: "<unk>",
};
