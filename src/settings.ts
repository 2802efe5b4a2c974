import { InputError } from "./errors.js";

/** Where implementations of PaliGemma disagree: one named switch each. No switch is decided by a model's name. */
export type Settings = {
  /** Whether the final cap of the config is applied: transformers >= 4.52 has the number and does not apply it. */
  finalLogitSoftcapping: "off" | "config";
  /** Whether local layers look back over a window only, as transformers does; big_vision has no window. */
  slidingWindow: "hf" | "off";
  /** Position of the first token. Rotation is relative: only rounding differs. */
  positionOffset: 0 | 1;
  /** How pictures are squashed to the model's square: HF inference, or big_vision training. */
  resize: "pillow-bicubic" | "bilinear-antialias";
  /**
   * "fast": products with the weights of both towers' blocks may round activations to bfloat16 where a processor multiplies 16-bit
   * weights faster so. "exact": never.
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

const ALLOWED: { [K in keyof Settings]: readonly Settings[K][] } = {
  finalLogitSoftcapping: ["off", "config"],
  slidingWindow: ["hf", "off"],
  positionOffset: [0, 1],
  resize: ["pillow-bicubic", "bilinear-antialias"],
  products: ["fast", "exact"],
};

/** The given switches over the defaults (`hf5`). Throws `InputError` for an unknown switch or value. */
export function settingsWith(changes: Partial<Settings> = {}): Settings {
  for (const [name, value] of Object.entries(changes)) {
    const allowed = Object.hasOwn(ALLOWED, name) ? (ALLOWED[name as keyof Settings] as readonly unknown[]) : null;
    if (allowed === null) {
      throw new InputError(`settings: unknown switch "${name}"; there are ${Object.keys(ALLOWED).join(", ")}`);
    }
    if (value !== undefined && !allowed.includes(value)) {
      throw new InputError(`settings.${name}: expected one of ${allowed.join(", ")}, received ${String(value)}`);
    }
  }
  return { ...hf5, ...Object.fromEntries(Object.entries(changes).filter(([, value]) => value !== undefined)) };
}
