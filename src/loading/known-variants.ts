import { EMBEDDING } from "../../weights/names.js";
import { ConfigError } from "../base/errors.js";

/** What the shapes of a decoder's tensors tell: widths, layers, rows of the query and of the key projection, MLP. */
type TextShapes = { D: number; layers: number; NH: number; KH: number; F: number };
type Variant = TextShapes & { name: string; N: number; K: number; H: number; scalar: number | null };

/**
 * The decoders that PaliGemma was published with; `scalar` is null where no cap and no window is (Gemma 1).
 * Source: google/paligemma-3b-pt-224 and google/paligemma2-{3b,10b,28b}-pt-224, config.json.
 */
const VARIANTS: readonly Variant[] = [
  { name: "PaliGemma 3B", D: 2048, layers: 18, NH: 2048, KH: 256, F: 16384, N: 8, K: 1, H: 256, scalar: null },
  { name: "PaliGemma 2 3B", D: 2304, layers: 26, NH: 2048, KH: 1024, F: 9216, N: 8, K: 4, H: 256, scalar: 256 },
  { name: "PaliGemma 2 10B", D: 3584, layers: 42, NH: 4096, KH: 2048, F: 14336, N: 16, K: 8, H: 256, scalar: 256 },
  { name: "PaliGemma 2 28B", D: 4608, layers: 46, NH: 4096, KH: 2048, F: 36864, N: 32, K: 16, H: 128, scalar: 144 },
];

/** SigLIP So400m/14, the tower of them all. Source: the same files. */
const TOWER = { width: 1152, layers: 27, F: 4304, heads: 16, patch: 14 };

/** `<image>`, the first id behind the tokens of the tokenizer. */
const IMAGE_TOKEN_ID = 257152;

type Shapes = ReadonlyMap<string, readonly number[]>;

/**
 * config.json of a published variant, recognised by the shapes of its tensors (by canonical name): for weights that
 * come without one. Throws `ConfigError` naming `where`, with the shapes that were found and what to do, for any other
 * model.
 */
export function configOfShapes(shapes: Shapes, where: string): Record<string, unknown> {
  const axis = (name: string, at: number): number => shapes.get(name)?.[at] ?? 0;
  const layersBelow = (prefix: string): number =>
    new Set(
      [...shapes.keys()]
        .filter((name) => name.startsWith(prefix))
        .map((name) => name.slice(prefix.length).split(".")[0]),
    ).size;
  const block = "language_model.model.layers.0";
  const text: TextShapes = {
    D: axis(EMBEDDING, 1),
    layers: layersBelow("language_model.model.layers."),
    NH: axis(`${block}.self_attn.q_proj.weight`, 0),
    KH: axis(`${block}.self_attn.k_proj.weight`, 0),
    F: axis(`${block}.mlp.gate_proj.weight`, 0),
  };
  const tower = "vision_tower.vision_model";
  const vision = {
    width: axis(`${tower}.embeddings.patch_embedding.weight`, 0),
    layers: layersBelow(`${tower}.encoder.layers.`),
    F: axis(`${tower}.encoder.layers.0.mlp.fc1.weight`, 0),
    patch: axis(`${tower}.embeddings.patch_embedding.weight`, 2),
  };
  const side = Math.sqrt(axis(`${tower}.embeddings.position_embedding.weight`, 0));
  const rows = axis(EMBEDDING, 0);
  const variant = VARIANTS.find((known) => sameFields(text, known));
  if (variant && sameFields(vision, TOWER) && Number.isInteger(side) && rows >= IMAGE_TOKEN_ID) {
    return configOf(variant, { side, rows });
  }
  const found = `a decoder of ${JSON.stringify(text)} with ${rows} rows and a tower of ${JSON.stringify(vision)}`;
  const known = VARIANTS.map(({ name }) => name).join(", ");
  throw new ConfigError(
    `${where}: there is no config.json, and the weights are none of the known variants (${known}): found ${found}. Put a ` +
      "config.json beside them that has text_config (model_type, num_attention_heads, num_key_value_heads, head_dim, and for gemma2 " +
      "query_pre_attn_scalar, softcaps, sliding_window), vision_config (num_attention_heads, image_size, patch_size), image_token_index",
  );
}

const sameFields = <T extends Record<string, number>>(found: T, known: T): boolean =>
  Object.entries(found).every(([name, value]) => known[name] === value);

function configOf({ D, layers, F, N, K, H, scalar }: Variant, { side, rows }: { side: number; rows: number }) {
  const gemma2 = {
    query_pre_attn_scalar: scalar,
    attn_logit_softcapping: 50,
    final_logit_softcapping: 30,
    sliding_window: 4096,
  };
  return {
    model_type: "paligemma",
    image_token_index: IMAGE_TOKEN_ID,
    projection_dim: D,
    bos_token_id: 2,
    eos_token_id: 1,
    pad_token_id: 0,
    text_config: {
      model_type: scalar === null ? "gemma" : "gemma2",
      vocab_size: rows,
      hidden_size: D,
      intermediate_size: F,
      num_hidden_layers: layers,
      num_attention_heads: N,
      num_key_value_heads: K,
      head_dim: H,
      ...(scalar === null ? {} : gemma2),
    },
    vision_config: {
      model_type: "siglip_vision_model",
      hidden_size: TOWER.width,
      intermediate_size: TOWER.F,
      num_hidden_layers: TOWER.layers,
      num_attention_heads: TOWER.heads,
      patch_size: TOWER.patch,
      image_size: side * TOWER.patch,
      projection_dim: D,
      vision_use_head: false,
    },
  };
}
