import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { ConfigError, InputError } from "../../../../src/base/errors.js";
import { readSentencePieceModel } from "../../../../src/input/tokenizer/sentencepiece.js";
import {
  createStreamDecoder,
  loadTokenizer,
  type Tokenizer,
  type TokenizerFolder,
} from "../../../../src/input/tokenizer/tokenizer.js";

type Text = { ids: number[]; decoded: string; skipped: string; asText?: number[] };
type Reference = {
  size: number;
  image: number;
  texts: Text[];
  sequences: [ids: number[], decoded: string, skipped: string][];
  manySpaces: number[];
};
type References = { strings: string[]; hub: Reference; saved: Reference };

const fixtures = fileURLToPath(new URL("../../../fixtures/processor/", import.meta.url));
const references = JSON.parse(readFileSync(join(fixtures, "tokenizers.json"), "utf8")) as References;
const read = (...path: string[]): Uint8Array => new Uint8Array(readFileSync(join(fixtures, ...path)));

/** A model folder in memory. */
function folderOf(files: Record<string, Uint8Array | object>): TokenizerFolder {
  const content = (file: string): Uint8Array =>
    files[file] instanceof Uint8Array ? files[file] : Buffer.from(JSON.stringify(files[file]));
  return {
    name: "models/test",
    has: async (file) => Object.hasOwn(files, file),
    readBytes: async (file) => content(file),
    readJson: async (file) => JSON.parse(Buffer.from(content(file)).toString("utf8")) as unknown,
  };
}

/** Some files of a fixture folder. */
function part(name: "hub" | "saved", ...files: string[]): Record<string, Uint8Array> {
  return Object.fromEntries(files.map((file) => [file, read(name, file)]));
}

const CONFIGS = ["tokenizer_config.json", "special_tokens_map.json"].filter((file) =>
  existsSync(join(fixtures, "hub", file)),
);
const jsonOf = (name: "hub" | "saved"): Record<string, unknown> =>
  JSON.parse(Buffer.from(read(name, "tokenizer.json")).toString("utf8")) as Record<string, unknown>;
const added = { addedTokens: { "<image>": references.hub.image } };
const decoderList = (): Record<string, object> =>
  Object.fromEntries((jsonOf("hub").added_tokens as { id: number }[]).map(({ id, ...token }) => [id, token]));

/** Every layout a checkpoint may have, with the reference that it must equal. */
const layouts: [name: string, kind: Tokenizer["kind"], load: () => Promise<Tokenizer>, reference: Reference][] = [
  [
    "a hub folder",
    "sentencepiece",
    () => loadTokenizer(folderOf(part("hub", "tokenizer.model", "tokenizer.json", ...CONFIGS))),
    references.hub,
  ],
  [
    "tokenizer.model and nothing else",
    "sentencepiece",
    () => loadTokenizer(folderOf(part("hub", "tokenizer.model")), added),
    references.saved,
  ],
  [
    "tokenizer.model with added_tokens_decoder",
    "sentencepiece",
    () =>
      loadTokenizer(
        folderOf({
          ...part("hub", "tokenizer.model"),
          "tokenizer_config.json": { added_tokens_decoder: decoderList() },
        }),
      ),
    references.hub,
  ],
  [
    "tokenizer.model with added_tokens.json",
    "sentencepiece",
    () =>
      loadTokenizer(
        folderOf({ ...part("hub", "tokenizer.model", ...CONFIGS), "added_tokens.json": added.addedTokens }),
      ),
    references.saved,
  ],
  [
    "the hub's tokenizer.json",
    "tokenizers",
    () => loadTokenizer(folderOf(part("hub", "tokenizer.json", ...CONFIGS))),
    references.hub,
  ],
  [
    "tokenizer.json as transformers 5.18 saves it",
    "tokenizers",
    () => loadTokenizer(folderOf(part("saved", "tokenizer.json", "tokenizer_config.json"))),
    references.saved,
  ],
];

for (const [name, kind, load, reference] of layouts) {
  describe(`tokenizer from ${name}`, () => {
    let tokenizer: Tokenizer;
    before(async () => {
      tokenizer = await load();
    });

    it(`runs on ${kind} and knows its sizes and special ids`, () => {
      const { bosTokenId, eosTokenId, padTokenId, unkTokenId, imageTokenId } = tokenizer;
      assert.equal(tokenizer.kind, kind);
      assert.equal(tokenizer.vocabularySize, reference.size);
      assert.deepEqual([padTokenId, eosTokenId, bosTokenId, unkTokenId, imageTokenId], [0, 1, 2, 3, reference.image]);
    });

    it(`gives transformers' ids for ${references.strings.length} ordinary and hostile strings`, () => {
      for (const [i, text] of references.strings.entries()) {
        assert.deepEqual(tokenizer.encode(text), reference.texts[i].ids, JSON.stringify(text));
      }
    });

    it("spells special tokens out where they are to be text, as split_special_tokens does", () => {
      for (const [i, text] of references.strings.entries()) {
        const { ids, asText = ids } = reference.texts[i];
        assert.deepEqual(tokenizer.encode(text, { specialTokens: "text" }), asText, JSON.stringify(text));
      }
    });

    it("spells every token with a name out where a text is plain: no id of any comes of it, and nothing is lost", () => {
      const named = /^<(loc\d{4}|seg\d{3})>$/;
      for (const text of [
        ...references.strings,
        "<loc0001>",
        "a<loc1023><seg000>",
        "<bos><loc0004> <eos>",
        "<<loc0001>>",
      ]) {
        const ids = tokenizer.encode(text, { specialTokens: "plain" });
        const found = ids.filter((id) => tokenizer.isSpecial(id) || named.test(tokenizer.idToToken(id)!));
        assert.deepEqual(
          found.filter((id) => id !== tokenizer.unkTokenId),
          [],
          JSON.stringify(text),
        );
        if (found.length === 0) assert.equal(tokenizer.decode(ids), tokenizer.decode(ids, { skipSpecialTokens: true }));
        if (!/<(loc|seg)\d/.test(text)) assert.deepEqual(ids, tokenizer.encode(text, { specialTokens: "text" }));
      }
      assert.notDeepEqual(
        tokenizer.encode("<loc0001>", { specialTokens: "plain" }),
        tokenizer.encode("<loc0001>", { specialTokens: "text" }),
      );
    });

    it("decodes as transformers does, with special tokens and without", () => {
      for (const { ids, decoded, skipped } of reference.texts) {
        assert.equal(tokenizer.decode(ids), decoded, JSON.stringify(ids));
        assert.equal(tokenizer.decode(ids, { skipSpecialTokens: true }), skipped, JSON.stringify(ids));
      }
    });

    it("decodes broken bytes and unknown ids as transformers does", () => {
      for (const [ids, decoded, skipped] of reference.sequences) {
        assert.equal(tokenizer.decode(ids), decoded, JSON.stringify(ids));
        assert.equal(tokenizer.decode(ids, { skipSpecialTokens: true }), skipped, JSON.stringify(ids));
      }
    });

    it("streams the text that decode gives, never half a character", () => {
      const rows = [...reference.texts.map(({ ids }) => ids), ...reference.sequences.map(([ids]) => ids)];
      const stream = createStreamDecoder(tokenizer);
      for (const ids of rows) {
        const chunks = [...ids.map((id) => stream.push(id)), stream.end()];
        assert.equal(chunks.join(""), tokenizer.decode(ids, { skipSpecialTokens: true }));
        for (const chunk of chunks) assert.equal(Buffer.from(chunk, "utf8").toString("utf8"), chunk);
      }
    });

    it("location and segment tokens survive skipSpecialTokens, the image token does not", () => {
      const ids = tokenizer.encode("<image><bos><loc0007><seg009> cat<eos>");
      assert.equal(tokenizer.decode(ids, { skipSpecialTokens: true }), "<loc0007><seg009> cat");
    });

    it("tokens and ids lead to each other", () => {
      for (const token of ["<bos>", "<image>", "<loc1023>", "<seg127>", "\n", "\u2581a"]) {
        assert.equal(tokenizer.idToToken(tokenizer.tokenToId(token)!), token);
      }
      assert.equal(tokenizer.tokenToId("no such token"), undefined);
      assert.equal(tokenizer.idToToken(reference.size), undefined);
    });

    it("a lone surrogate counts as U+FFFD", () => {
      for (const text of ["a\ud83d", "\ude00b", "\ud83d\ud83d\ude00"]) {
        assert.deepEqual(tokenizer.encode(text), tokenizer.encode(Buffer.from(text, "utf8").toString("utf8")));
      }
    });
  });
}

describe("tokenizer", () => {
  it("more spaces than the longest piece of spaces split as in the hub's file, also from tokenizer.model", async () => {
    // transformers' two conversions differ here; sentencepiece takes the longest piece first, like the hub's.
    const spaces = " ".repeat(40);
    for (const file of ["tokenizer.model", "tokenizer.json"]) {
      const tokenizer = await loadTokenizer(folderOf(part("hub", file)), added);
      assert.deepEqual(tokenizer.encode(spaces), references.hub.manySpaces);
    }
    const saved = await loadTokenizer(folderOf(part("saved", "tokenizer.json")));
    assert.deepEqual(saved.encode(spaces), references.saved.manySpaces);
    assert.notDeepEqual(references.saved.manySpaces, references.hub.manySpaces);
  });

  it("specialTokens of the loader is the default of every call", async () => {
    const tokenizer = await loadTokenizer(folderOf(part("hub", "tokenizer.model")), {
      ...added,
      specialTokens: "text",
    });
    assert.ok(!tokenizer.encode("<bos><eos><image>").some((id) => [0, 1, 2, references.hub.image].includes(id)));
    assert.deepEqual(tokenizer.encode("<bos>", { specialTokens: "ids" }), [2]);
    assert.deepEqual(tokenizer.encode("<loc0003>"), [tokenizer.tokenToId("<loc0003>")]);
  });

  it("added tokens are matched longest first, whatever their order", async () => {
    const list = (...contents: string[]) =>
      Object.fromEntries(contents.map((content, i) => [1800 + i, { content, special: false, normalized: false }]));
    for (const contents of [
      ["cat", "cats", "cats!"],
      ["cats!", "cats", "cat"],
    ]) {
      const config = { added_tokens_decoder: list(...contents) };
      const tokenizer = await loadTokenizer(
        folderOf({ ...part("hub", "tokenizer.model"), "tokenizer_config.json": config }),
      );
      assert.deepEqual(
        tokenizer.encode("cats!catscat"),
        [contents.indexOf("cats!"), contents.indexOf("cats"), contents.indexOf("cat")].map((i) => 1800 + i),
      );
    }
  });

  it("lstrip, rstrip and single_word of an added token are kept to", async () => {
    const flags = [
      { content: "LL", lstrip: true },
      { content: "RR", rstrip: true },
      { content: "SS", single_word: true },
    ];
    const config = {
      added_tokens_decoder: Object.fromEntries(flags.map((flag, i) => [1800 + i, { normalized: false, ...flag }])),
    };
    const tokenizer = await loadTokenizer(
      folderOf({ ...part("hub", "tokenizer.model"), "tokenizer_config.json": config }),
    );
    const a = tokenizer.encode("a");
    assert.deepEqual(tokenizer.encode("a  LLa"), [...a, 1800, ...a]);
    assert.deepEqual(tokenizer.encode("aRR  a"), [...a, 1801, ...a]);
    assert.ok(!tokenizer.encode("aSSa").includes(1802));
    assert.deepEqual(tokenizer.encode("SS"), [1802]);
  });

  it("a field __proto__ gives no token a role, and an id is digits alone", async () => {
    const added = (id: string) =>
      `{"added_tokens_decoder":{"${id}":{"content":"<odd>"}},"__proto__":{"bos_token":"<odd>"}}`;
    for (const id of ["", "0x10", "1e3", "99999999999"]) {
      const config: unknown = JSON.parse(added(id));
      const tokenizer = await loadTokenizer(
        folderOf({ ...part("hub", "tokenizer.model"), "tokenizer_config.json": config as object }),
      );
      assert.equal(tokenizer.tokenToId("<odd>"), undefined, id);
      assert.equal(tokenizer.bosTokenId, 2);
    }
  });

  it("neither tokenizer.model nor tokenizer.json is an error that names both", async () => {
    await assert.rejects(loadTokenizer(folderOf({})), (error: Error) => {
      assert.ok(error instanceof ConfigError);
      assert.match(error.message, /models\/test: .*tokenizer\.model.*tokenizer\.json/);
      return true;
    });
  });

  it("a damaged tokenizer.model is an error that names it", async () => {
    const model = read("hub", "tokenizer.model");
    const lying = model.slice();
    lying[1] = 0xff; // the length of the first piece
    for (const bytes of [new Uint8Array(0), model.subarray(0, 2001), Buffer.from("<html>404</html>"), lying]) {
      const loading = loadTokenizer(folderOf({ "tokenizer.model": new Uint8Array(bytes) }));
      await assert.rejects(loading, (error: Error) => {
        assert.ok(error instanceof ConfigError, String(error));
        return assert.match(error.message, /^models\/test\/tokenizer\.model: /) ?? true;
      });
    }
  });

  it("a piece that is a byte-order mark keeps its name", () => {
    const bytes = Uint8Array.from([0x0a, 0x05, 0x0a, 0x03, 0xef, 0xbb, 0xbf]);
    assert.deepEqual(readSentencePieceModel(bytes, "model").pieces, [{ piece: "\ufeff", type: 1, typeAt: -1 }]);
  });

  it("a tokenizer.json of another kind of model is an error that names it", async () => {
    for (const json of [{}, { model: { type: "Unigram", vocab: [["a", 0]] } }, []]) {
      await assert.rejects(loadTokenizer(folderOf({ "tokenizer.json": json })), {
        name: "ConfigError",
        message: /^models\/test\/tokenizer\.json: expected/,
      });
    }
  });

  it("an id of <image> that config.json contradicts is an error with both ids", async () => {
    const loading = loadTokenizer(folderOf(part("hub", "tokenizer.json")), { addedTokens: { "<image>": 7 } });
    await assert.rejects(loading, {
      name: "ConfigError",
      message: new RegExp(`<image> is id ${references.hub.image} .* but 7`),
    });
  });

  it("an unknown specialTokens and a text that is none are refused", async () => {
    const folder = folderOf(part("hub", "tokenizer.model"));
    await assert.rejects(loadTokenizer(folder, { specialTokens: "no" as "ids" }), InputError);
    const tokenizer = await loadTokenizer(folder);
    assert.throws(() => tokenizer.encode(undefined as unknown as string), /text: expected a string, received nothing/);
  });
});
