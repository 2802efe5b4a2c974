import { ConfigError, InputError } from "../base/errors.js";
import { decodeImage, type ImageInput, isPixelTensor, type PixelTensorInput, type RawImage } from "./image/decode.js";
import { DEFAULT_IMAGE_CONFIG, type ImageProcessorConfig } from "./processor-config.js";
import { resize } from "./resize/resize.js";
import { resizeAsBigVision, resizeBilinearAntialias } from "./resize/resize-tensorflow.js";
import { anything, checkOptions, either, flag, list, number, oneOf, type OptionKinds, text } from "../base/options.js";
import type { Resize } from "../model/settings.js";
import { SPECIAL_TOKENS, type SpecialTokens, type Tokenizer } from "./tokenizer/tokenizer.js";

/** What stands for a picture in a prompt. */
export const IMAGE_MARK = "<image>";

/** Label of a position that is not trained. Source: transformers, processing_paligemma.py. */
export const IGNORED_LABEL = -100;

/** What a `Processor` is made of; ids and sizes come from the checkpoint. */
export type ProcessorOptions = {
  tokenizer: Tokenizer;
  /** Side S of the square that pictures are squashed to. */
  imageSize: number;
  imageTokenId: number;
  /** `<image>` tokens P for one picture. */
  numImageTokens: number;
  bosTokenId: number;
  padTokenId: number;
  /**
   * "pillow-bicubic" (default): the filter of the checkpoint as Pillow applies it. "bilinear-antialias": as in
   * training, cut to bytes. "bilinear-antialias-float": as in big_vision's notebook, not rounded.
   */
  resize?: Resize | undefined;
  /** Default: PaliGemma's. */
  imageConfig?: ImageProcessorConfig | undefined;
  /** What becomes of special tokens typed into a prompt. Default: what the tokenizer was loaded with. */
  specialTokens?: SpecialTokens | undefined;
  /** Whether pictures given as http(s) addresses are fetched. Default: they are refused. */
  fetchPictures?: boolean | undefined;
};

/** Pictures and prompts as the model takes them. B prompts, N pictures, T positions. */
export type ProcessedInputs = {
  /** [N, S, S, 3], channels last, in [-1, 1]; the pictures of all prompts in order. */
  pixelValues: Float32Array;
  pixelShape: [number, number, number, 3];
  /** The same before normalising, as bytes; null where a pixel tensor or an unrounded resize was used. */
  pixelBytes: Uint8Array | null;
  /** [B, T], padded on the left. */
  inputIds: number[][];
  /** [B, T]: 1 for tokens, 0 for pads. */
  attentionMask: number[][];
  /** [B, T]: 0 for pictures, prompts and pads, 1 for suffixes. */
  tokenTypeIds: number[][];
  /** [B, T]: ids of the suffixes, `IGNORED_LABEL` elsewhere; only with suffixes. */
  labels?: number[][];
  /** Sizes of the pictures before they were squashed, orientation applied. */
  imageSizes: { width: number; height: number }[];
};

/** Ids of one prompt with the places of its pictures, and of what follows it (empty where nothing does). */
export type PromptRow = { prefix: number[]; suffix: number[] };

/**
 * How one prompt is laid out: what follows it, what errors call it, and what becomes of special tokens typed into it.
 */
export type LayOutOptions = {
  suffix?: string | undefined;
  label?: string | undefined;
  specialTokens?: SpecialTokens | undefined;
};

/** How prompts are processed: the wanted answer to each, and what becomes of special tokens typed into them. */
export type ProcessOptions = { suffix?: string[] | undefined; specialTokens?: SpecialTokens | undefined };

const PROCESSING: OptionKinds<ProcessOptions> = { suffix: either(text, list), specialTokens: oneOf(...SPECIAL_TOKENS) };
const LAYING_OUT: OptionKinds<LayOutOptions> = { suffix: text, label: text, specialTokens: oneOf(...SPECIAL_TOKENS) };

const PROCESSOR: OptionKinds<ProcessorOptions> = {
  tokenizer: anything,
  imageSize: number,
  imageTokenId: number,
  numImageTokens: number,
  bosTokenId: number,
  padTokenId: number,
  resize: text,
  imageConfig: anything,
  specialTokens: oneOf(...SPECIAL_TOKENS),
  fetchPictures: flag,
};

/** One picture as the model takes it, and how large it was. */
export type ProcessedPicture = {
  /** [S, S, 3] in [-1, 1]. */
  values: Float32Array;
  /** The same before normalising; null for ready pixels and where the resize does not round. */
  bytes: Uint8Array | null;
  size: { width: number; height: number };
};

/**
 * Pictures and prompts to tensors, as `PaliGemmaProcessor` of transformers 5.18 with the PIL image processor.
 * Ids: `<image>` x P for each picture, `<bos>`, prompt, "\n"; then the suffix and `<eos>`, in training.
 */
export class Processor {
  private readonly options: ProcessorOptions;
  private readonly imageConfig: ImageProcessorConfig;

  /** Throws `ConfigError` where the image processor's file contradicts the model's config. */
  constructor(options: ProcessorOptions) {
    const { imageSize, numImageTokens, imageConfig = DEFAULT_IMAGE_CONFIG } = options;
    const { size, imageSeqLength } = imageConfig;
    if (size && (size.width !== imageSize || size.height !== imageSize)) {
      const given = `${size.height} x ${size.width} in the processor's`;
      throw new ConfigError(
        `image size: ${given} file but ${imageSize} in config.json; take both from the same checkpoint`,
      );
    }
    if (imageSeqLength !== undefined && imageSeqLength !== numImageTokens) {
      const advice = "take both files from the same checkpoint";
      throw new ConfigError(
        `image_seq_length: ${imageSeqLength} in the processor's file but config.json gives ${numImageTokens} patches; ${advice}`,
      );
    }
    this.options = checkOptions("Processor", options, PROCESSOR);
    this.imageConfig = imageConfig;
  }

  /**
   * One picture for each prompt, or a list of pictures for each. A single prompt takes a flat list as its pictures only
   * when it holds as many `<image>` marks. Marks in a prompt say where its pictures stand; without marks they come
   * first. `suffix`: the wanted answers, one for each prompt. Throws `InputError` where counts do not fit or a picture
   * cannot be read.
   */
  async process(
    images: ImageInput | ImageInput[] | ImageInput[][],
    prompts: string | string[],
    options: ProcessOptions = {},
  ): Promise<ProcessedInputs> {
    const { suffix, specialTokens = this.specialTokens } = checkOptions("process", options, PROCESSING);
    const texts = checkedTexts(prompts, "prompt");
    const groups = grouped(images, texts, specialTokens);
    const suffixes = suffix === undefined ? undefined : checkedTexts(suffix, "suffix");
    if (suffixes && suffixes.length !== texts.length) {
      throw new InputError(`suffix: expected one for each of ${texts.length} prompts, got ${suffixes.length}`);
    }
    const rows = texts.map((text, i) => {
      const label = texts.length > 1 ? `prompt ${i + 1}` : "prompt";
      return this.layOut(text, groups[i].length, { suffix: suffixes?.[i], label, specialTokens });
    });
    const pictures: ProcessedPicture[] = [];
    for (const [i, image] of groups.flat().entries()) pictures.push(await this.readPicture(image, `image ${i + 1}`));
    return { ...this.stack(pictures), ...this.pad(rows, suffixes !== undefined) };
  }

  /**
   * One prompt about `pictures` pictures in ids, and what is to follow it. Throws `InputError` where they do not fit
   * together.
   */
  layOut(prompt: string, pictures: number, options: LayOutOptions = {}): PromptRow {
    const { suffix, label = "prompt", specialTokens } = checkOptions("layOut", options, LAYING_OUT);
    const prefix = this.prefix(prompt, pictures, { label, specialTokens: specialTokens ?? this.specialTokens });
    return { prefix, suffix: suffix === undefined ? [] : this.suffix(suffix) };
  }

  private get specialTokens(): SpecialTokens {
    return this.options.specialTokens ?? this.options.tokenizer.specialTokens;
  }

  /**
   * Ids of pictures and prompt. transformers joins one string and tokenises that; cutting it at special tokens gives
   * the same ids, since no piece reaches across one, and keeps them apart from special tokens that are to be text.
   */
  private prefix(
    prompt: string,
    imageCount: number,
    { label, specialTokens }: { label: string; specialTokens: SpecialTokens },
  ): number[] {
    const { imageTokenId, numImageTokens, bosTokenId, tokenizer } = this.options;
    const encode = (text: string) => tokenizer.encode(text, { specialTokens });
    const pieces = marks(`${prompt}\n`, specialTokens);
    const given = pieces.length - 1;
    if (given > 0 && given !== imageCount) {
      const advice = `write ${IMAGE_MARK} once for each image, or leave it out`;
      throw new InputError(`${label}: holds ${given} ${IMAGE_MARK} for ${imageCount} images; ${advice}`);
    }
    const picture = Array.from({ length: numImageTokens }, () => imageTokenId);
    const last = pieces.pop()!;
    const before = given > 0 ? pieces.flatMap((piece) => [...encode(piece), ...picture]) : repeat(picture, imageCount);
    const ids = [...before, bosTokenId, ...encode(last)];
    // Last guard: the model would otherwise overwrite the wrong rows.
    const count = ids.filter((id) => id === imageTokenId).length;
    if (count === imageCount * numImageTokens) return ids;
    throw new InputError(`${label}: has ${count} image tokens for ${imageCount} images of ${numImageTokens} each`);
  }

  private suffix(text: string): number[] {
    const { imageTokenId, tokenizer } = this.options;
    const { eosTokenId } = tokenizer;
    if (eosTokenId === undefined) {
      throw new ConfigError("suffix: the tokenizer has no <eos>; add eos_token to tokenizer_config.json");
    }
    const ids = tokenizer.encode(text, { specialTokens: this.specialTokens });
    if (!ids.includes(imageTokenId)) return [...ids, eosTokenId];
    throw new InputError(`suffix: holds ${IMAGE_MARK}, which stands for a picture; write it in the prompt`);
  }

  /** Rows of one length, padded on the left. */
  pad(
    rows: readonly PromptRow[],
    withLabels = false,
  ): Pick<ProcessedInputs, "inputIds" | "attentionMask" | "tokenTypeIds" | "labels"> {
    const longest = Math.max(...rows.map(({ prefix, suffix }) => prefix.length + suffix.length));
    const fill = (
      row: PromptRow,
      pad: number,
      prefix: (id: number) => number,
      suffix: (id: number) => number,
    ): number[] => {
      const pads = Array.from({ length: longest - row.prefix.length - row.suffix.length }, () => pad);
      return [...pads, ...row.prefix.map(prefix), ...row.suffix.map(suffix)];
    };
    const [id, zero, one, ignored] = [(value: number) => value, () => 0, () => 1, () => IGNORED_LABEL];
    const layout = {
      inputIds: rows.map((row) => fill(row, this.options.padTokenId, id, id)),
      attentionMask: rows.map((row) => fill(row, 0, one, one)),
      tokenTypeIds: rows.map((row) => fill(row, 0, zero, one)),
    };
    return withLabels ? { ...layout, labels: rows.map((row) => fill(row, IGNORED_LABEL, ignored, id)) } : layout;
  }

  /** Pictures as one block, in their order. */
  stack(
    pixels: readonly ProcessedPicture[],
  ): Pick<ProcessedInputs, "pixelValues" | "pixelShape" | "pixelBytes" | "imageSizes"> {
    const S = this.options.imageSize;
    const length = S * S * 3;
    const pixelValues = new Float32Array(pixels.length * length);
    pixels.forEach(({ values }, i) => pixelValues.set(values, i * length));
    let pixelBytes: Uint8Array | null = null;
    if (pixels.every(({ bytes }) => bytes !== null)) {
      pixelBytes = new Uint8Array(pixelValues.length);
      for (const [i, { bytes }] of pixels.entries()) pixelBytes.set(bytes!, i * length);
    }
    return {
      pixelValues,
      pixelShape: [pixels.length, S, S, 3],
      pixelBytes,
      imageSizes: pixels.map(({ size }) => size),
    };
  }

  /** Reads, squashes and normalises one picture. Throws `InputError` that begins with its path or the label. */
  async readPicture(input: ImageInput, label: string): Promise<ProcessedPicture> {
    const S = this.options.imageSize;
    if (isPixelTensor(input)) return this.readyPixels(input, label);
    const image = await this.decode(input, label);
    const size = { width: image.width, height: image.height };
    if (this.options.resize === "bilinear-antialias-float") {
      return { values: this.normalised(resizeBilinearAntialias(image, S, S)), bytes: null, size };
    }
    const { data } = this.squashed(image);
    return { values: this.normalised(data), bytes: data, size };
  }

  /** A picture in its own size. Throws `InputError` that begins with its path or the label. */
  decode(input: Exclude<ImageInput, PixelTensorInput>, label: string): Promise<RawImage> {
    return decodeImage(input, label, { fetchPictures: this.options.fetchPictures });
  }

  private squashed(image: RawImage): RawImage {
    const S = this.options.imageSize;
    if (this.options.resize === "bilinear-antialias") return resizeAsBigVision(image, S, S);
    return resize(image, S, S, this.imageConfig.resample === "bilinear" ? "pillow-bilinear" : "pillow-bicubic");
  }

  private readyPixels({ pixels, width, height }: PixelTensorInput, label: string): ProcessedPicture {
    const S = this.options.imageSize;
    if (width !== S || height !== S || !(pixels instanceof Float32Array) || pixels.length !== S * S * 3) {
      const got = `${width} x ${height} with ${pixels?.length ?? 0} values`;
      throw new InputError(
        `${label}: ready pixels must be a Float32Array of ${S} x ${S} x 3 values, got ${got}; resize first`,
      );
    }
    const bad = pixels.findIndex((value) => !(value >= -1 && value <= 1));
    if (bad < 0) return { values: pixels, bytes: null, size: { width, height } };
    throw new InputError(
      `${label}: ready pixels lie in [-1, 1], got ${pixels[bad]} at ${bad}; normalise as byte / 127.5 - 1`,
    );
  }

  /** (grey · rescaleFactor - mean) / std, channel by channel. */
  private normalised(grey: Uint8Array | Float32Array): Float32Array {
    const { rescaleFactor, imageMean, imageStd } = this.imageConfig;
    return Float32Array.from(grey, (value, i) => (value * rescaleFactor - imageMean[i % 3]) / imageStd[i % 3]);
  }
}

/** The pictures of each prompt. */
function grouped(
  images: ImageInput | ImageInput[] | ImageInput[][],
  texts: string[],
  specialTokens: SpecialTokens,
): ImageInput[][] {
  const list: (ImageInput | ImageInput[])[] = Array.isArray(images) ? images : [images];
  if (list.length !== texts.length) {
    const flat = list.every((image): image is ImageInput => !Array.isArray(image));
    if (flat && texts.length === 1 && marks(texts[0], specialTokens).length - 1 === list.length) return [list];
    const advice = "give one image, or a list of images, for each prompt";
    throw new InputError(`images: ${list.length} for ${texts.length} prompts; ${advice}`);
  }
  return list.map((entry, i) => {
    const group = Array.isArray(entry) ? entry : [entry];
    if (group.length === 0) throw new InputError(`images: none for prompt ${i + 1}; PaliGemma needs at least one`);
    return group;
  });
}

/** A prompt cut at its `<image>` marks: one piece more than marks. */
const marks = (prompt: string, specialTokens: SpecialTokens): string[] =>
  specialTokens === "ids" ? prompt.split(IMAGE_MARK) : [prompt];

const repeat = (ids: number[], times: number): number[] => Array.from({ length: times }, () => ids).flat();

function checkedTexts(texts: string | string[], what: string): string[] {
  const list = Array.isArray(texts) ? texts : [texts];
  if (list.length === 0) throw new InputError(`${what}s: none given; give at least one, "" asks for a caption`);
  list.forEach((text: unknown, i) => {
    if (typeof text === "string") return;
    throw new InputError(`${what} ${i + 1}: expected text, got ${text === null ? "null" : typeof text}`);
  });
  return list;
}
