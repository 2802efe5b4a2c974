import type { Command } from "commander";

import { drawBoxes } from "../pictures/box-drawing.js";
import type { Detections } from "../tasks/detect.js";
import { toCoco, toYolo } from "../tasks/export-detections.js";
import { addFindCommand, categoriesOf, type FindFlags, objectTable, runFind, type Sought } from "./find.js";

type Flags = FindFlags & { format: "table" | "json" | "coco" | "yolo" };

/** `detect IMAGE THING...`: boxes in the picture's pixels, as a table, JSON, COCO or YOLO, and drawn. */
export function addDetect(program: Command): void {
  addFindCommand(program, {
    name: "detect",
    description: "find things in a picture",
    formats: ["table", "json", "coco", "yolo"],
    out: "the boxes",
  }).action((file: string, things: string[], flags: Flags) =>
    runFind({ file, things, command: "detect" }, flags, {
      find: (model, { image }, options) => model.detect(image, things, options),
      draw: ({ objects }, picture) => drawBoxes({ ...picture, objects }),
      print: (found, sought) => inWords(found, sought, flags),
    }),
  );
}

function inWords(found: Detections, { file, things, image }: Sought, flags: Flags): string {
  if (flags.format === "json") return `${JSON.stringify(found, null, 2)}\n`;
  if (flags.format === "yolo") return toYolo(found.objects, image, things);
  if (flags.format === "coco") return `${JSON.stringify(toCoco(found.objects, file, categoriesOf(things)))}\n`;
  return objectTable(found.objects, flags);
}
