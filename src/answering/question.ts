import * as tf from "@tensorflow/tfjs";

import { InputError } from "../base/errors.js";
import { type ImageInput, isPixelTensor } from "../input/image/decode.js";
import { anything, checkOptions, described, oneOf, type OptionKinds, text } from "../base/options.js";
import type { Processor } from "../input/processor.js";
import { requireTensor } from "../base/tensors.js";
import { SPECIAL_TOKENS, type SpecialTokens } from "../input/tokenizer/tokenizer.js";
import { EncodedPicture } from "./encoded-picture.js";

/** A picture in any form; as a tensor [S, S, 3] in [-1, 1], which stays the caller's; or encoded before. */
export type Picture = ImageInput | tf.Tensor3D | EncodedPicture;

/** One picture, or several for one prompt, and what is asked of it. */
export type Question = {
  image: Picture | Picture[];
  prompt: string;
  /** What becomes of special tokens typed into the prompt. Default: what the model was loaded with. */
  specialTokens?: SpecialTokens | undefined;
};

/** Of each part; pictures are checked where they are read. */
export const QUESTION_KINDS: OptionKinds<Question> = {
  image: anything,
  prompt: text,
  specialTokens: oneOf(...SPECIAL_TOKENS),
};

/** A question with its pictures as a list. */
export type QuestionParts = Omit<Question, "image"> & { pictures: Picture[] };

/**
 * The pictures of a question, and what else it has. Throws `InputError` without a picture, and for a prompt that is no
 * text.
 */
export function partsOf(question: Question): QuestionParts {
  const { image, prompt, specialTokens } = checkOptions("question", question, QUESTION_KINDS);
  if (typeof prompt !== "string") throw new InputError(`prompt: expected text, received ${described(prompt)}`);
  const pictures = Array.isArray(image) ? image : [image];
  if (pictures.length === 0) throw new InputError("image: expected at least one picture, received an empty list");
  return { pictures, prompt, specialTokens };
}

/** The only picture where one is asked for. Throws `InputError` for a list of none or several. */
export function onlyPicture(image: Picture | readonly Picture[]): Picture {
  const pictures = Array.isArray(image) ? (image as readonly Picture[]) : [image as Picture];
  if (pictures.length === 1) return pictures[0]!;
  throw new InputError(`image: expected one picture, received a list of ${pictures.length}`);
}

/**
 * A picture that is not encoded yet, in a form that the processor reads. Throws `InputError` for a tensor of another
 * shape.
 */
export async function readable(picture: Exclude<Picture, EncodedPicture>): Promise<ImageInput> {
  if (!(picture instanceof tf.Tensor)) return picture;
  requireTensor("image", picture);
  const [height, width, channels] = picture.shape;
  if (picture.rank !== 3 || channels !== 3) {
    throw new InputError(`image: expected a tensor [height, width, 3], received [${picture.shape.join(", ")}]`);
  }
  return { pixels: Float32Array.from(await picture.data()), width, height };
}

/**
 * A picture decoded once for all that is done with it, and its size as it is seen upright, in pixels. Throws as
 * `decodeImage` does.
 */
export async function decodedPicture(
  image: Picture,
  processor: Processor,
): Promise<{ picture: Picture; size: { width: number; height: number } }> {
  const picture = onlyPicture(image);
  if (picture instanceof EncodedPicture) return { picture, size: picture.size };
  const read = await readable(picture);
  const decoded = isPixelTensor(read) ? read : await processor.decode(read, "image");
  return { picture: decoded, size: { width: decoded.width, height: decoded.height } };
}
