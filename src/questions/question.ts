import * as tf from "@tensorflow/tfjs";

import { InputError } from "../errors.js";
import { decodeImage, type ImageInput, isPixelTensor } from "../image.js";
import { EncodedPicture } from "./encoded-picture.js";

/** A picture in any form; as a tensor [S, S, 3] in [-1, 1], which stays the caller's; or encoded before. */
export type Picture = ImageInput | tf.Tensor3D | EncodedPicture;

/** One picture, or several for one prompt, and what is asked of it. */
export type Question = { image: Picture | Picture[]; prompt: string };

/** The pictures of a question, and its prompt. Throws `InputError` for a prompt that is no text. */
export function partsOf(question: Question): { pictures: Picture[]; prompt: string } {
  const { image, prompt } = question ?? {};
  if (typeof prompt !== "string") throw new InputError(`prompt: expected text, received ${typeof prompt}`);
  return { pictures: Array.isArray(image) ? image : [image], prompt };
}

/** A picture that is not encoded yet, in a form that the processor reads. Throws `InputError` for a tensor of another shape. */
export async function readable(picture: Exclude<Picture, EncodedPicture>): Promise<ImageInput> {
  if (!(picture instanceof tf.Tensor)) return picture;
  const [height, width, channels] = picture.shape;
  if (picture.rank !== 3 || channels !== 3) {
    throw new InputError(`image: expected a tensor [height, width, 3], received [${picture.shape.join(", ")}]`);
  }
  return { pixels: Float32Array.from(await picture.data()), width, height };
}

/** A picture decoded once for all that is done with it, and its size as it is seen upright, in pixels. Throws as `decodeImage` does. */
export async function decodedPicture(
  picture: Picture,
): Promise<{ picture: Picture; size: { width: number; height: number } }> {
  if (picture instanceof EncodedPicture) return { picture, size: picture.size };
  const image = await readable(picture);
  const decoded = isPixelTensor(image) ? image : await decodeImage(image);
  return { picture: decoded, size: { width: decoded.width, height: decoded.height } };
}
