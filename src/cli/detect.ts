import { type Command, Option } from "commander";

import { decodeImage } from "../image.js";
import { drawBoxes } from "../pictures/box-drawing.js";
import { encodePng } from "../pictures/png.js";
import type { Detections } from "../tasks/detect.js";
import { toCoco, toYolo } from "../tasks/export-detections.js";
import { columns } from "./inspection-options.js";
import { loadWithProgress } from "./load.js";
import { addLoadOptions, type LoadFlags, numberFor } from "./options.js";
import { requirePicture, writePicture } from "./write-picture.js";

type Flags = LoadFlags & {
  out?: string;
  format: "table" | "json" | "coco" | "yolo";
  divisor: "1024" | "1023";
  maxOverlap: number;
  maxNewTokens?: number;
};

/** `detect IMAGE THING...`: boxes in the picture's pixels, as a table, JSON, COCO or YOLO, and drawn. */
export function addDetect(program: Command): void {
  addLoadOptions(program.command("detect"))
    .description("find things in a picture")
    .argument("<image>", "picture file")
    .argument("<thing...>", "what is looked for")
    .addOption(
      new Option("--format <name>", "what is printed").choices(["table", "json", "coco", "yolo"]).default("table"),
    )
    .addOption(new Option("--divisor <n>", "what a location is divided by").choices(["1024", "1023"]).default("1024"))
    .option(
      "--max-overlap <iou>",
      "drop an object that another of its label covers by more",
      numberFor("--max-overlap"),
      1,
    )
    .option("--max-new-tokens <n>", "stop after n tokens", numberFor("--max-new-tokens"))
    .option("--out <file>", "draw the boxes over the picture, to a .png or .svg file")
    .action(async (file: string, things: string[], flags: Flags) => {
      const { out, maxOverlap, maxNewTokens } = flags;
      if (out !== undefined) requirePicture(out);
      const image = await decodeImage(file, "image");
      const model = await loadWithProgress(flags);
      try {
        const divisor = flags.divisor === "1023" ? 1023 : 1024;
        const found = await model.detect(image, things, { divisor, maxOverlap, maxNewTokens });
        if (out !== undefined) {
          const svg = drawBoxes({
            png: await encodePng(image),
            objects: found.objects,
            title: `detect ${things.join(" ; ")}`,
          });
          await writePicture(out, svg);
        }
        process.stdout.write(inWords(found, { file, things, image, ...flags }));
        for (const warning of found.warnings) process.stderr.write(`warning: ${warning}\n`);
      } finally {
        model.dispose();
      }
    });
}

type Shown = Pick<Flags, "format" | "out"> & {
  file: string;
  things: string[];
  image: { width: number; height: number };
};

function inWords(found: Detections, { format, out, file, things, image }: Shown): string {
  if (format === "json") return `${JSON.stringify(found, null, 2)}\n`;
  if (format === "yolo") return toYolo(found.objects, image, things);
  if (format === "coco") {
    const categories = Object.fromEntries(things.map((thing, i) => [thing, i + 1]));
    return `${JSON.stringify(toCoco(found.objects, file, categories))}\n`;
  }
  const rows = found.objects.map(({ label, score, box: { left, top, right, bottom } }) => [
    label,
    score.toFixed(3),
    [left, top, right, bottom].map((at) => at.toFixed(1)).join(" "),
  ]);
  const table = rows.length === 0 ? "nothing found\n" : columns([["label", "score", "left top right bottom"], ...rows]);
  return table + (out === undefined ? "" : `-> ${out}\n`);
}
