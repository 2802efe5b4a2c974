import type { RawImage } from "../image/decode.js";

const CHANNELS = 3;
const f = Math.fround;

/** Weights of one axis: for output i, `values[i * taps ...]` of the `count[i]` inputs that start at `first[i]`. */
type Spans = { first: Int32Array; count: Int32Array; values: Float32Array; taps: number };

/**
 * The triangle of TensorFlow's `ScaleAndTranslate` with antialiasing, in its float32 arithmetic: cutting to bytes shows
 * the last bit. Source: TensorFlow, core/kernels/image/scale_and_translate_op.cc, `ComputeSpansCore`; checked against
 * TensorFlow 2.21.
 */
function spansOf(from: number, to: number): Spans {
  const step = f(1 / f(to / from));
  const reach = Math.max(step, 1);
  const inverse = f(1 / reach);
  const taps = Math.min(2 * Math.ceil(reach) + 1, from);
  const spans = { first: new Int32Array(to), count: new Int32Array(to), values: new Float32Array(to * taps), taps };
  for (let i = 0; i < to; i++) {
    const centre = f(f(i + 0.5) * step);
    const first = clamp(Math.ceil(f(f(centre - reach) - 0.5)), from);
    const end = clamp(Math.floor(f(f(centre + reach) - 0.5)), from) + 1;
    let sum = 0;
    for (let j = first; j < end; j++) {
      const distance = Math.abs(f(f(f(j + 0.5) - centre) * inverse));
      const weight = distance < 1 ? f(1 - distance) : 0;
      spans.values[i * taps + j - first] = weight;
      sum = f(sum + weight);
    }
    const scale = f(1 / sum);
    for (let k = 0; k < end - first; k++) spans.values[i * taps + k] = f(spans.values[i * taps + k]! * scale);
    spans.first[i] = first;
    spans.count[i] = end - first;
  }
  return spans;
}

const clamp = (at: number, size: number): number => Math.min(Math.max(at, 0), size - 1);

/**
 * Bilinear with antialiasing, rows first, never rounded to whole numbers: `tf.image.resize(..., "bilinear",
 * antialias=True)`, which big_vision's notebook feeds to the model. Returns [height, width, 3], values 0..255. Sizes
 * are positive integers.
 */
export function resizeBilinearAntialias(image: RawImage, width: number, height: number): Float32Array {
  const [down, across] = [spansOf(image.height, height), spansOf(image.width, width)];
  const rowLength = image.width * CHANNELS;
  const rows = new Float32Array(height * rowLength);
  for (let y = 0; y < height; y++) {
    for (let k = 0; k < down.count[y]!; k++) {
      const weight = down.values[y * down.taps + k]!;
      for (let i = 0, to = y * rowLength, from = (down.first[y]! + k) * rowLength; i < rowLength; i++, to++, from++) {
        rows[to] = rows[to]! + f(weight * image.data[from]!);
      }
    }
  }
  const output = new Float32Array(height * width * CHANNELS);
  for (let y = 0, to = 0; y < height; y++) {
    for (let x = 0; x < width; x++, to += CHANNELS) {
      for (let k = 0, from = y * rowLength + across.first[x]! * CHANNELS; k < across.count[x]!; k++, from += CHANNELS) {
        const weight = across.values[x * across.taps + k]!;
        for (let c = 0; c < CHANNELS; c++) output[to + c] = output[to + c]! + f(weight * rows[from + c]!);
      }
    }
  }
  return output;
}

/**
 * The same, cut to bytes as big_vision does in training and evaluation. Returns a new picture.
 * Source: google-research/big_vision, pp/ops_image.py, `get_resize`.
 */
export function resizeAsBigVision(image: RawImage, width: number, height: number): RawImage {
  // Clipped for good measure, as there; a typed array cuts off what is behind the point.
  const data = Uint8Array.from(resizeBilinearAntialias(image, width, height), (value) =>
    Math.min(Math.max(value, 0), 255),
  );
  return { data, width, height };
}
