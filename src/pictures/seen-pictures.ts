import type { RawImage } from "../input/image/decode.js";
import type { PaliGemma } from "../paligemma.js";
import { encodePng } from "./png.js";
import type { SeenPicture } from "./seen-picture.js";

/** Pictures as the model sees them, squashed to its square, with the sizes that they came in. */
export async function seenPictures(model: PaliGemma, images: readonly RawImage[]): Promise<SeenPicture[]> {
  const { pixelValues, pixelShape } = await model.process({ image: [...images], prompt: "" });
  const side = pixelShape[1];
  const each = side * side * 3;
  return Promise.all(
    images.map(async ({ width, height }, i) => {
      const data = Uint8Array.from(pixelValues.subarray(i * each, (i + 1) * each), (x) => Math.round((x + 1) * 127.5));
      return { png: await encodePng({ data, width: side, height: side }), originalSize: { width, height } };
    }),
  );
}
