import type { MaskCodec } from "../masks/codec.js";
import { type Mask, maskArea } from "../masks/mask.js";
import { pasteHard, pasteSoft } from "../masks/paste.js";
import { checkOptions, flag, type OptionKinds } from "../base/options.js";
import {
  DETECTION_KINDS,
  type Detection,
  type DetectionOptions,
  type Detections,
  type DetectionSource,
  readDetections,
} from "./detect.js";

/**
 * One thing that was found, with its mask over the picture; null where the model wrote no codes of a mask, or wrong
 * ones.
 */
export type Segmentation = Detection & { mask: Mask | null };

/** What an answer to `segment` holds. */
export type Segmentations = Omit<Detections, "objects"> & { objects: Segmentation[] };

/** How segmentations are read. */
export type SegmentationOptions = DetectionOptions & {
  /**
   * Masks with soft edges, 0 to 255, as PaliGemma's demonstration pastes them; default: 0 and 255, as its evaluator
   * does.
   */
  soft?: boolean | undefined;
};

/** Of each of them. */
export const SEGMENTATION_KINDS: OptionKinds<SegmentationOptions> = { ...DETECTION_KINDS, soft: flag };

/**
 * Reads the objects of an answer with their masks, in the picture's own pixels. What the model has written never
 * throws: an object without sixteen codes has no mask, and a warning says so.
 */
export async function readSegmentations(
  source: DetectionSource,
  codec: MaskCodec,
  options: SegmentationOptions = {},
): Promise<Segmentations> {
  const { soft, ...reading } = checkOptions("readSegmentations", options, SEGMENTATION_KINDS);
  const found = readDetections(source, reading, { boxesAlone: true });
  const coded = found.objects.filter(({ codes }) => codes !== null);
  const maps = await codec.decode(coded.map(({ codes }) => codes!));
  const paste = soft ? pasteSoft : pasteHard;
  const objects = found.objects.map((object): Segmentation => {
    const map = maps[coded.indexOf(object)];
    return { ...object, mask: map ? paste(map, object.locations, source.size, options.divisor) : null };
  });
  return { ...found, objects, warnings: [...found.warnings, ...objects.flatMap(oddMask)] };
}

function oddMask({ label, mask, locations }: Segmentation): string[] {
  if (mask !== null && maskArea(mask) > 0) return [];
  return [`${JSON.stringify(label)} at ${locations.join(", ")} has ${mask === null ? "no" : "an empty"} mask`];
}
