import { checkOptions, oneOf, type OptionKinds } from "../base/options.js";

/** Ways to squash a picture. */
export type Resize = "pillow-bicubic" | "bilinear-antialias" | "bilinear-antialias-float";

/** Where implementations of PaliGemma disagree: one named switch each. No switch is decided by a model's name. */
export type Settings = {
  /** Whether the final cap of the config is applied: transformers >= 4.52 has the number and does not apply it. */
  finalLogitSoftcapping: "off" | "config";
  /** Whether local layers look back over a window only, as transformers does; big_vision has no window. */
  slidingWindow: "hf" | "off";
  /** Position of the first token. Rotation is relative: only rounding differs. */
  positionOffset: 0 | 1;
  /**
   * How pictures are squashed to the model's square: HF inference; big_vision training, cut to bytes; big_vision's
   * notebook, in floats.
   */
  resize: Resize;
  /**
   * "fast": products with the weights of both towers' blocks may round activations to bfloat16 where a processor
   * multiplies 16-bit weights faster so. "exact": never.
   */
  products: "fast" | "exact";
};

/** What transformers 5.x computes with eager attention: the default of everything here. */
export const hf5: Settings = {
  finalLogitSoftcapping: "off",
  slidingWindow: "hf",
  positionOffset: 1,
  resize: "pillow-bicubic",
  products: "fast",
};

/** transformers 4.41 to 4.51: the final cap is applied. */
export const hf4: Settings = { ...hf5, finalLogitSoftcapping: "config" };

/** google-research/big_vision. */
export const bigVision: Settings = {
  ...hf5,
  slidingWindow: "off",
  positionOffset: 0,
  resize: "bilinear-antialias",
};

const SWITCHES: OptionKinds<Settings> = {
  finalLogitSoftcapping: oneOf("off", "config"),
  slidingWindow: oneOf("hf", "off"),
  positionOffset: oneOf(0, 1),
  resize: oneOf("pillow-bicubic", "bilinear-antialias", "bilinear-antialias-float"),
  products: oneOf("fast", "exact"),
};

/** The given switches over the defaults (`hf5`). Throws `InputError` for an unknown switch or value. */
export function settingsWith(changes: Partial<Settings> = {}): Settings {
  const given = Object.entries(checkOptions("settings", changes, SWITCHES));
  return { ...hf5, ...Object.fromEntries(given.filter(([, value]) => value !== undefined)) };
}
