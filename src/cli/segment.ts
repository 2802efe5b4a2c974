import { type Command, Option } from "commander";

import { maskArea } from "../masks/mask.js";
import { encodeRunLengths } from "../masks/run-lengths.js";
import { drawSegmentations } from "../pictures/segmentation-drawing.js";
import { toCoco } from "../tasks/export-detections.js";
import type { Segmentations } from "../tasks/segment.js";
import { readsFile, writes } from "./declared-files.js";
import { addFindCommand, categoriesOf, type FindFlags, objectTable, runFind, type Sought } from "./find.js";
import { isMaskFile, writeMasks } from "./write-masks.js";

type Flags = FindFlags & { format: "table" | "json" | "coco"; soft?: boolean; masks?: string; maskWeights?: string };

/**
 * `segment IMAGE THING...`: boxes and masks in the picture's pixels, as a table, JSON or COCO, drawn, and as PNG files.
 */
export function addSegment(program: Command): void {
  addFindCommand(program, {
    name: "segment",
    description: "find things in a picture, with their masks",
    formats: ["table", "json", "coco"],
    out: "the masks and boxes",
  })
    .option("--soft", "masks with soft edges")
    .addOption(
      writes(
        new Option("--masks <dir>", "write each mask as a grey PNG file, 1.png and so on, and labels.png of all"),
        {
          holds: isMaskFile,
        },
      ),
    )
    .addOption(
      readsFile(
        new Option(
          "--mask-weights <file>",
          "weights of masks (path or URL); without it vae-oid.npz of the model's folder",
        ),
      ),
    )
    .action((file: string, things: string[], flags: Flags) => {
      const { soft, masks, maskWeights } = flags;
      return runFind({ file, things, command: "segment" }, flags, {
        load: { maskWeights },
        find: (model, { image }, options) => model.segment(image, things, { ...options, soft }),
        draw: ({ objects }, picture) => drawSegmentations({ ...picture, objects }),
        print: async (found, sought) => {
          if (masks !== undefined) await writeMasks(masks, found.objects, sought.image);
          return inWords(found, sought, flags);
        },
      });
    });
}

function inWords(found: Segmentations, { file, things }: Sought, flags: Flags): string {
  if (flags.format === "json") {
    const objects = found.objects.map(({ mask, ...object }) => ({ ...object, mask: mask && encodeRunLengths(mask) }));
    return `${JSON.stringify({ ...found, objects }, null, 2)}\n`;
  }
  if (flags.format === "coco") return `${JSON.stringify(toCoco(found.objects, file, categoriesOf(things)))}\n`;
  const pixels = {
    title: "pixels",
    of: ({ mask }: Segmentations["objects"][number]) => String(mask ? maskArea(mask) : "-"),
  };
  return objectTable(found.objects, flags, [pixels]);
}
