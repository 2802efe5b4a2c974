import { GENERATION_KINDS, type GenerationOptions } from "../decoding/text-options.js";
import { checkOptions, number, oneOf, type OptionKinds } from "../base/options.js";
import type { Tokenizer } from "../input/tokenizer/tokenizer.js";
import { type Box, iou, type PixelBox, toPixels } from "../grammar/box.js";
import { parseObjects } from "../grammar/parse-objects.js";

/** One thing that was found. */
export type Detection = {
  label: string;
  /** In pixels of the picture as it is seen upright. */
  box: PixelBox;
  /** As the model wrote it, in 1024ths: [y0, x0, y1, x1]. */
  locations: Box;
  /** Geometric mean of the probabilities of the box's four locations, in (0, 1]. */
  score: number;
  /** Sixteen mask codes where the model wrote a mask, else null. */
  codes: readonly number[] | null;
};

/** What an answer to `detect` or `segment` holds. */
export type Detections = {
  objects: Detection[];
  /** What was odd in the model's output, in words. */
  warnings: string[];
  /** Text outside of objects. */
  texts: string[];
  /** The whole answer. */
  text: string;
};

/** How detections are read. */
export type ReadingOptions = {
  /** What a location is divided by: 1024 (default) or 1023. */
  divisor?: 1024 | 1023 | undefined;
  /**
   * Whether an object is dropped that another of the same label covers by more than this part (IoU). Default: only
   * exact repetitions, 1.
   */
  maxOverlap?: number | undefined;
};

/** How an answer is generated, and detections are read in it. */
export type DetectionOptions = GenerationOptions & ReadingOptions;

/** Of each of them. */
export const READING_KINDS: OptionKinds<ReadingOptions> = { divisor: oneOf(1024, 1023), maxOverlap: number };
export const DETECTION_KINDS: OptionKinds<DetectionOptions> = { ...GENERATION_KINDS, ...READING_KINDS };

/** An answer as tokens with log-probabilities, and the picture that it is about. */
export type DetectionSource = {
  tokens: readonly number[];
  logProbabilities: readonly number[];
  tokenizer: Tokenizer;
  size: { width: number; height: number };
};

/**
 * Reads the objects of an answer: boxes in pixels, scores, repetitions dropped. `boxesAlone`: an object whose mask
 * codes are at fault is kept without them (default: dropped). Never throws for what a model has written.
 */
export function readDetections(
  source: DetectionSource,
  options: DetectionOptions = {},
  { boxesAlone = false }: { boxesAlone?: boolean } = {},
): Detections {
  const { divisor, maxOverlap = 1 } = checkOptions("readDetections", options, DETECTION_KINDS);
  const { text, spans } = spell(source);
  const { objects: parsed, texts, warnings } = parseObjects(text);
  const objects: Detection[] = [];
  for (const object of parsed) {
    const { valid, label, box: locations, codes, start } = object;
    if (locations === null || !(valid || boxesAlone)) continue;
    const box = toPixels(locations, source.size, divisor);
    if (objects.some((other) => other.label === label && iou(other.box, box) >= maxOverlap)) {
      warnings.push(`repetition of ${JSON.stringify(label)} at ${locations.join(", ")} dropped`);
      continue;
    }
    objects.push({ label, box, locations, codes, score: scoreOf(spans, start) });
  }
  return { objects, warnings, texts, text };
}

type Span = { start: number; logProbability: number };

// The text of an answer, and where each location token begins in it.
function spell({ tokens, logProbabilities, tokenizer }: DetectionSource): { text: string; spans: Span[] } {
  const text = tokenizer.decode([...tokens], { skipSpecialTokens: true });
  const spans: Span[] = [];
  let from = 0;
  tokens.forEach((id, i) => {
    const spelt = tokenizer.idToToken(id) ?? "";
    if (!/^<loc\d{4}>$/.test(spelt)) return;
    const start = text.indexOf(spelt, from);
    if (start < 0) return;
    spans.push({ start, logProbability: logProbabilities[i] ?? 0 });
    from = start + spelt.length;
  });
  return { text, spans };
}

function scoreOf(spans: readonly Span[], start: number): number {
  const first = spans.findIndex((span) => span.start === start);
  const own = spans.slice(first, first + 4);
  return first < 0 ? 0 : Math.min(1, Math.exp(own.reduce((sum, one) => sum + one.logProbability, 0) / own.length));
}
