import assert from "node:assert/strict";
import { canonicalName, canonicalNames, isIgnored } from "../../weights/index.js";
import { weightsError } from "./helpers.js";

/** Canonical name, then each layout's spelling of it. */
const PARTS: [string, string[]][] = [
  [
    "language_model.model.embed_tokens.weight",
    ["language_model.model.embed_tokens.weight", "model.language_model.embed_tokens.weight"],
  ],
  [
    "language_model.model.layers.17.self_attn.q_proj.weight",
    [
      "language_model.model.layers.17.self_attn.q_proj.weight",
      "model.language_model.layers.17.self_attn.q_proj.weight",
      "language_model.layers.17.self_attn.q_proj.weight",
    ],
  ],
  ["language_model.model.norm.weight", ["language_model.model.norm.weight", "model.language_model.norm.weight"]],
  [
    "language_model.lm_head.weight",
    ["language_model.lm_head.weight", "lm_head.weight", "model.language_model.lm_head.weight"],
  ],
  ...["embeddings.patch_embedding.bias", "encoder.layers.3.mlp.fc1.weight", "post_layernorm.weight"].map(
    (rest): [string, string[]] => [
      `vision_tower.vision_model.${rest}`,
      ["vision_tower.vision_model.", "vision_tower.", "model.vision_tower.vision_model.", "model.vision_tower."].map(
        (prefix) => prefix + rest,
      ),
    ],
  ),
  [
    "multi_modal_projector.linear.bias",
    ["multi_modal_projector.linear.bias", "model.multi_modal_projector.linear.bias"],
  ],
];
const OUTER = [
  "",
  "paligemma_with_expert.paligemma.",
  "model.paligemma_with_expert.paligemma.",
  "base_model.model.",
  "base_model.model.paligemma_with_expert.paligemma.",
];

describe("weights/names", () => {
  for (const [canonical, spellings] of PARTS) {
    it(`${canonical} is found in every layout and behind every prefix`, () => {
      for (const prefix of OUTER) {
        for (const spelling of spellings) assert.equal(canonicalName(prefix + spelling), canonical, prefix + spelling);
      }
    });
  }

  it("a canonical name is its own canonical name", () => {
    for (const [canonical] of PARTS) assert.equal(canonicalName(canonical), canonical);
  });

  it("names of other things stay what they are, so that they are reported", () => {
    const others = [
      "model.layers.0.self_attn.q_proj.weight",
      "paligemma_with_expert.gemma_expert.model.layers.0.mlp.up_proj.weight",
      "vision_model.encoder.layers.0.mlp.fc1.weight",
      "language_model.something.weight",
      "vision_tower.something.weight",
      "my_language_model.norm.weight",
      "language_modelXnorm.weight",
      "",
    ];
    for (const name of others) assert.equal(canonicalName(name), name);
    const table = "model.language_model.layers.0.mlp.up_proj.weight.absmax";
    assert.equal(canonicalName(table), "language_model.model.layers.0.mlp.up_proj.weight.absmax");
  });

  it("the pooling head and position ids are known and unused, and nothing else is", () => {
    const ignored = [
      "vision_tower.vision_model.head.probe",
      "vision_tower.head.attention.in_proj_weight",
      "model.vision_tower.vision_model.head.mlp.fc1.bias",
      "vision_tower.vision_model.embeddings.position_ids",
      "model.vision_tower.embeddings.position_ids",
    ];
    for (const name of ignored) assert.ok(isIgnored(canonicalName(name)), name);
    for (const [canonical] of PARTS) assert.ok(!isIgnored(canonical), canonical);
    assert.ok(!isIgnored(canonicalName("vision_tower.headroom.weight")));
    assert.ok(!isIgnored("vision_tower.vision_model.embeddings.position_ids_more"));
  });

  it("two spellings of one tensor are refused with both names", () => {
    for (const [canonical, spellings] of PARTS.filter(([, all]) => all.length > 1)) {
      const [first, second] = spellings;
      const both = weightsError(/^file: /, new RegExp(`"${first}"`), new RegExp(`"${second}"`), new RegExp(canonical));
      assert.throws(() => canonicalNames([first, "other", second], "file"), both);
    }
    const names = canonicalNames(["lm_head.weight", "model.vision_tower.encoder.x"], "file");
    assert.equal(names.get("language_model.lm_head.weight"), "lm_head.weight");
    assert.equal(names.get("vision_tower.vision_model.encoder.x"), "model.vision_tower.encoder.x");
  });
});
