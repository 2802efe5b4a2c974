import { ConfigFields } from "../model/config-fields.js";
import { ConfigError } from "../base/errors.js";

/** How pictures become pixels, as a checkpoint's processor file says. */
export type ImageProcessorConfig = {
  /** Height and width after resizing; undefined where the file does not say. */
  size: { height: number; width: number } | undefined;
  /** Filter: value = (byte · rescaleFactor - imageMean) / imageStd after it. */
  resample: "bilinear" | "bicubic";
  rescaleFactor: number;
  imageMean: [red: number, green: number, blue: number];
  imageStd: [red: number, green: number, blue: number];
  /** `<image>` tokens for one picture; undefined where the file does not say. */
  imageSeqLength: number | undefined;
};

/** What every PaliGemma checkpoint says. Source: transformers, models/siglip/image_processing_pil_siglip.py. */
export const DEFAULT_IMAGE_CONFIG: ImageProcessorConfig = {
  size: undefined,
  resample: "bicubic",
  rescaleFactor: 1 / 255,
  imageMean: [0.5, 0.5, 0.5],
  imageStd: [0.5, 0.5, 0.5],
  imageSeqLength: undefined,
};

/** Pillow's numbers of the filters. Source: PIL/Image.py, `Resampling`. */
const RESAMPLE: Readonly<Record<number, ImageProcessorConfig["resample"]>> = { 2: "bilinear", 3: "bicubic" };

/**
 * Reads an `image_processor` object; fields that are left out are PaliGemma's. Throws `ConfigError` that begins with
 * `where` and names the field.
 */
export function parseImageProcessorConfig(json: unknown, where: string): ImageProcessorConfig {
  const fields = ConfigFields.of(json, where);
  const resample = RESAMPLE[fields.integer("resample", 3, 0)];
  if (resample === undefined) {
    throw new ConfigError(
      `${where}.resample: expected 2 (bilinear) or 3 (bicubic), received ${String(fields.raw("resample"))}`,
    );
  }
  for (const step of ["do_resize", "do_rescale", "do_normalize"]) {
    fields.fixed(step, true, "PaliGemma needs it");
  }
  const length = fields.raw("image_seq_length");
  return {
    size: sizeOf(fields, where),
    resample,
    rescaleFactor: fields.positive("rescale_factor", DEFAULT_IMAGE_CONFIG.rescaleFactor),
    imageMean: triple(fields, "image_mean", where, DEFAULT_IMAGE_CONFIG.imageMean, () => true),
    imageStd: triple(fields, "image_std", where, DEFAULT_IMAGE_CONFIG.imageStd, (value) => value > 0),
    imageSeqLength: length === undefined ? undefined : fields.integer("image_seq_length"),
  };
}

/** `size` is {height, width}, or one number for both in old files. */
function sizeOf(fields: ConfigFields, where: string): ImageProcessorConfig["size"] {
  const size = fields.raw("size");
  if (size === undefined) return undefined;
  const both = typeof size === "number" ? { height: size, width: size } : size;
  const sides = ConfigFields.of(both, `${where}.size`);
  return { height: sides.integer("height"), width: sides.integer("width") };
}

function triple(
  fields: ConfigFields,
  name: string,
  where: string,
  fallback: [number, number, number],
  fits: (value: number) => boolean,
): [number, number, number] {
  const value = fields.raw(name);
  if (value === undefined) return fallback;
  const list = Array.isArray(value) ? (value as unknown[]) : [];
  const numbers = list.filter(
    (item): item is number => typeof item === "number" && Number.isFinite(item) && fits(item),
  );
  if (list.length === 3 && numbers.length === 3) return [numbers[0], numbers[1], numbers[2]];
  const kind = fits(0) ? "three numbers" : "three numbers above 0";
  throw new ConfigError(`${where}.${name}: expected ${kind}, received ${JSON.stringify(value)}`);
}

/** The part of a model folder that processor files are read from. */
export type ProcessorFolder = {
  readonly name: string;
  has(file: string): Promise<boolean>;
  readJson(file: string): Promise<unknown>;
};

/**
 * Reads `processor_config.json` (transformers 5.x nests `image_processor` in it), else `preprocessor_config.json`, else
 * takes PaliGemma's values. Throws `ConfigError`.
 */
export async function loadImageProcessorConfig(folder: ProcessorFolder): Promise<ImageProcessorConfig> {
  if (await folder.has("processor_config.json")) {
    const where = `${folder.name}/processor_config.json`;
    const nested = ConfigFields.of(await folder.readJson("processor_config.json"), where).raw("image_processor");
    if (nested !== undefined) return parseImageProcessorConfig(nested, `${where}: image_processor`);
  }
  if (!(await folder.has("preprocessor_config.json"))) return DEFAULT_IMAGE_CONFIG;
  const json = await folder.readJson("preprocessor_config.json");
  return parseImageProcessorConfig(json, `${folder.name}/preprocessor_config.json`);
}
