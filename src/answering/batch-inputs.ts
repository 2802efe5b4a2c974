import * as tf from "@tensorflow/tfjs";

import type { ModelInputs } from "../model/inputs.js";
import type { PaliGemmaModel } from "../model/model.js";
import type { ProcessedPicture, Processor } from "../input/processor.js";
import { EncodedPicture } from "./encoded-picture.js";
import { onlyPicture, partsOf, type Picture, type Question, readable } from "./question.js";

/** Inputs whose pictures, as pixels or as rows, are the holder's to dispose. */
export type OwnedInputs = ModelInputs & { dispose: () => void };

/**
 * Questions as one batch, prompts padded on the left, pictures in reading order. Once one of the pictures is encoded,
 * all of them enter as rows, and the others are encoded here. `suffixes`: what follows each prompt. Throws `InputError`
 * for what cannot be asked.
 */
export async function batchInputs(
  questions: readonly Question[],
  { processor, model }: { processor: Processor; model: PaliGemmaModel },
  suffixes?: readonly string[],
): Promise<OwnedInputs & { labels?: number[][] }> {
  const asked = questions.map(partsOf);
  const rows = asked.map(({ pictures, prompt, specialTokens }, i) => {
    const label = questions.length > 1 ? `prompt ${i + 1}` : "prompt";
    return processor.layOut(prompt, pictures.length, { suffix: suffixes?.[i], label, specialTokens });
  });
  const pictures = await Promise.all(
    asked.flatMap(({ pictures }) => pictures).map((picture, i) => processed(picture, processor, `image ${i + 1}`)),
  );
  const { tensor, encoded } = pictureTensor(pictures, processor, model);
  const both = encoded ? { pixelValues: null, imageRows: tensor } : { pixelValues: tensor };
  return { ...both, ...processor.pad(rows, suffixes !== undefined), dispose: () => tensor.dispose() };
}

/**
 * A picture through the vision tower and the projector, as one of its own; one that is encoded already is returned as
 * it is.
 */
export async function encodePicture(
  picture: Picture,
  { processor, model }: { processor: Processor; model: PaliGemmaModel },
): Promise<EncodedPicture> {
  const read = await processed(onlyPicture(picture), processor, "image");
  if (read instanceof EncodedPicture) {
    read.rowsFor(model);
    return read;
  }
  const pixels = pixelsOf([read], processor);
  try {
    return new EncodedPicture(model.encodeImages(pixels), read.size, model);
  } finally {
    pixels.dispose();
  }
}

async function processed(
  picture: Picture,
  processor: Processor,
  label: string,
): Promise<ProcessedPicture | EncodedPicture> {
  return picture instanceof EncodedPicture ? picture : processor.readPicture(await readable(picture), label);
}

function pictureTensor(
  pictures: readonly (ProcessedPicture | EncodedPicture)[],
  processor: Processor,
  model: PaliGemmaModel,
): { tensor: tf.Tensor; encoded: boolean } {
  const plain = pictures.filter((picture): picture is ProcessedPicture => !(picture instanceof EncodedPicture));
  if (plain.length === pictures.length) return { tensor: pixelsOf(plain, processor), encoded: false };
  const tensor = tf.tidy(() => {
    const fresh = plain.length > 0 ? model.encodeImages(pixelsOf(plain, processor)) : null;
    let next = 0;
    const rows = pictures.map((one) =>
      one instanceof EncodedPicture ? one.rowsFor(model) : fresh!.slice([next++], [1]),
    );
    return rows.length === 1 ? rows[0].clone() : tf.concat(rows);
  });
  return { tensor, encoded: true };
}

function pixelsOf(pictures: readonly ProcessedPicture[], processor: Processor): tf.Tensor {
  const { pixelValues, pixelShape } = processor.stack(pictures);
  return tf.tensor(pixelValues, pixelShape);
}
