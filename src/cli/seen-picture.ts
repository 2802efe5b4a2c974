import type { RawImage } from "../image.js";
import type { PaliGemma } from "../paligemma.js";
import { encodePng } from "../pictures/png.js";
import type { SeenPicture } from "../pictures/seen-picture.js";

/** The first picture as the model sees it, squashed to its square, and the size that it came in. */
export async function seenPicture(model: PaliGemma, images: readonly RawImage[]): Promise<SeenPicture> {
  const [{ width, height, data }] = images as [RawImage];
  const { pixelValues, pixelShape } = await model.process({ image: { width, height, data }, prompt: "" });
  const side = pixelShape[1]!;
  const bytes = Uint8Array.from(pixelValues, (value) => Math.round((value + 1) * 127.5));
  return { png: await encodePng({ data: bytes, width: side, height: side }), originalSize: { width, height } };
}
