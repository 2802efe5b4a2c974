import path from "node:path";

import * as prettier from "prettier";

import { parseConfig } from "../../src/model/config.js";
import { hookCatalogue, type HookPoint } from "../../src/model/hook-catalogue.js";
import { packageRoot } from "../../src/base/package-root.js";

/** The page that `hooksPage` makes. */
export const HOOKS_PAGE = path.join(packageRoot(), "docs", "hooks.md");

/**
 * The sizes that shapes depend on.
 * Source: google/paligemma-3b-pt-224 and google/paligemma2-3b-pt-224, config.json.
 */
const MODELS = {
  "PaliGemma 3B": {
    model_type: "gemma",
    hidden_size: 2048,
    intermediate_size: 16384,
    num_hidden_layers: 18,
    num_attention_heads: 8,
    num_key_value_heads: 1,
    head_dim: 256,
  },
  "PaliGemma 2 3B": {
    model_type: "gemma2",
    hidden_size: 2304,
    intermediate_size: 9216,
    num_hidden_layers: 26,
    num_attention_heads: 8,
    num_key_value_heads: 4,
    head_dim: 256,
    query_pre_attn_scalar: 256,
    attn_logit_softcapping: 50,
    final_logit_softcapping: 30,
    sliding_window: 4096,
  },
};
const VISION = {
  model_type: "siglip_vision_model",
  hidden_size: 1152,
  intermediate_size: 4304,
  num_hidden_layers: 27,
  num_attention_heads: 16,
  patch_size: 14,
  image_size: 224,
};

/** What an activation is, by the end of its name; the longest end that fits counts. */
const MEANINGS: Record<string, string> = {
  "vision.hook_embed": "patches times the convolution, with its bias",
  hook_pos_embed: "the position table",
  hook_full_embed: "the sum of both: the first block's input",
  "language.hook_embed": "rows of the token table, times the square root of D",
  hook_resid_pre: "residual stream before the block",
  hook_resid_mid: "residual stream between attention and MLP",
  hook_resid_post: "residual stream after the block",
  "ln1.hook_scale": "divisor of the norm before attention",
  "ln1.hook_out": "output of the norm before attention",
  "ln1_post.hook_scale": "divisor of the norm after attention",
  "ln1_post.hook_out": "output of the norm after attention",
  "ln2.hook_scale": "divisor of the norm before the MLP",
  "ln2.hook_out": "output of the norm before the MLP",
  "ln2_post.hook_scale": "divisor of the norm after the MLP",
  "ln2_post.hook_out": "output of the norm after the MLP",
  "ln_final.hook_scale": "divisor of the last norm",
  "ln_final.hook_out": "output of the last norm",
  hook_q: "queries",
  hook_k: "keys",
  hook_v: "values",
  hook_rot_q: "queries after the rotation",
  hook_rot_k: "keys after the rotation",
  hook_attn_scores: "scores after the scale",
  "language.blocks.{i}.attn.hook_attn_scores": "scores after scale, softcap and mask",
  hook_pattern: "softmax of the scores",
  hook_z: "values weighted by the pattern",
  hook_attn_out: "what attention adds to the stream",
  hook_mlp_out: "what the MLP adds to the stream",
  "mlp.hook_pre": "MLP before the activation function",
  "language.blocks.{i}.mlp.hook_pre": "gate before the activation function",
  "mlp.hook_pre_linear": "up projection, which the gate multiplies",
  "mlp.hook_post": "input of the MLP's last matrix",
  "projector.hook_out": "picture rows in the decoder's width",
  "unembed.hook_out": "logits",
};

/** The table of contents of a catalogue: blocks appear once, as `{i}`. */
const SECTIONS = {
  "Vision tower": /^vision\.hook_/,
  "A block of the vision tower": /^vision\.blocks\./,
  "After the vision tower": /^(vision\.ln_final|projector)\./,
  "Decoder, before its blocks": /^language\.hook_/,
  "A block of the decoder": /^language\.blocks\./,
  "After the decoder's blocks": /^language\.(ln_final|unembed)\./,
};

/** docs/hooks.md: every activation with its axes, its shape in both generations, and what it is. */
export async function hooksPage(): Promise<string> {
  const catalogues = Object.values(MODELS).map((text) => catalogueOf(text));
  const names = mergedNames(catalogues);
  const sections = Object.entries(SECTIONS).map(([title, pattern]) => {
    const rows = names.filter((name) => pattern.test(name)).map((name) => rowOf(name, catalogues));
    return `## ${title}\n\n${range(title)}${table(rows)}`;
  });
  const missed = names.filter((name) => !Object.values(SECTIONS).some((pattern) => pattern.test(name)));
  if (missed.length > 0) throw new Error(`hooks in no section: ${missed.join(", ")}`);
  return prettier.format([INTRODUCTION, ...sections].join("\n\n"), { parser: "markdown", printWidth: 120 });
}

function catalogueOf(text: object): Map<string, HookPoint> {
  const config = parseConfig({
    model_type: "paligemma",
    image_token_index: 257152,
    projection_dim: (text as { hidden_size: number }).hidden_size,
    text_config: { vocab_size: 257216, ...text },
    vision_config: VISION,
  });
  return new Map(hookCatalogue(config).map((point) => [point.name.replace(/\.blocks\.\d+\./, ".blocks.{i}."), point]));
}

/** The names of the longest catalogue, in its order; a name that only a shorter one has is an error. */
function mergedNames(catalogues: Map<string, HookPoint>[]): string[] {
  const [longest, ...rest] = [...catalogues].sort((a, b) => b.size - a.size).map((points) => [...points.keys()]);
  const extra = rest.flat().filter((name) => !longest!.includes(name));
  if (extra.length > 0) throw new Error(`hooks that only the shorter catalogue has: ${extra.join(", ")}`);
  return longest!;
}

function rowOf(name: string, catalogues: Map<string, HookPoint>[]): string[] {
  const axes = catalogues.map((points) => points.get(name)?.axes).find((found) => found !== undefined)!;
  const shapes = catalogues.map((points) => points.get(name)?.shape);
  const leaf = name.replace(/^(vision|language)\.blocks\.\{i\}\./, "");
  return [code(leaf), code(axes), ...shapes.map((shape) => (shape ? code(shape) : "none")), meaningOf(name)];
}

const code = (value: string | readonly (string | number)[]): string =>
  typeof value === "string" ? `\`${value}\`` : `\`[${value.join(", ")}]\``;

function meaningOf(name: string): string {
  const ends = Object.keys(MEANINGS).filter((end) => name === end || name.endsWith(`.${end}`));
  const [end] = ends.sort((a, b) => b.length - a.length);
  if (end === undefined) throw new Error(`no meaning is written down for ${name}`);
  return MEANINGS[end]!;
}

function table(rows: string[][]): string {
  const header = ["hook", "axes", ...Object.keys(MODELS), "what it is"];
  return [header, header.map(() => "---"), ...rows].map((cells) => `| ${cells.join(" | ")} |`).join("\n");
}

function range(title: string): string {
  if (title === "A block of the vision tower") {
    return `Below \`vision.blocks.{i}\`, \`{i}\` from 0 to ${VISION.num_hidden_layers - 1}.\n\n`;
  }
  if (title !== "A block of the decoder") return "";
  const lasts = Object.entries(MODELS).map(([name, { num_hidden_layers }]) => `${num_hidden_layers - 1} (${name})`);
  return `Below \`language.blocks.{i}\`, \`{i}\` from 0 to ${lasts.join(" or ")}.\n\n`;
}

const INTRODUCTION = `<!-- Made by \`npm run docs:hooks\` from the hook catalogue. Do not edit. -->

# Hooks

Every activation that can be read and changed, in the order of computation.
\`npm run -s paligemma -- hooks --model NAME\` prints the list of one checkpoint, a line each, from its config alone.
[Inspection](inspection.md) shows how to use the names.

| letter | axis |
| --- | --- |
| \`I\` | pictures of the run |
| \`B\` | rows of the batch |
| \`T\` | positions of this pass: the whole prompt, later one token |
| \`T_text\` | positions of text |
| \`S\` | key positions: those before this pass and those of it |
| \`P\` | patches of a picture |
| \`N\`, \`K\` | query heads, key heads |
| \`H\` | width of a head |
| \`D\` | width of the tower |
| \`F\` | width of the MLP |
| \`V\` | rows of the vocabulary |

Shapes are those of the published 3B checkpoints at 224 pixels: numbers where the config decides, letters where the
inputs decide. Where rows have unequal numbers of text positions, \`language.hook_embed\` concatenates them, and its
\`B\` is 1. "none": the model has no such norm.`;
