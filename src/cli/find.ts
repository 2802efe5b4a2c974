import { type Command, Option } from "commander";

import { decodeImage, type RawImage } from "../input/image/decode.js";
import type { LoadOptions } from "../loading/load-parts.js";
import type { PaliGemma } from "../paligemma.js";
import { encodePng } from "../pictures/png.js";
import type { Detection, DetectionOptions, Detections } from "../tasks/detect.js";
import { columns } from "./inspection-options.js";
import { loadWithProgress } from "./load.js";
import { addLoadOptions, drawingOption, type LoadFlags, numberFor, pictureArgument } from "./options.js";
import { writePicture } from "./write-picture.js";

/** The options of every command that looks for things in a picture. */
export type FindFlags = LoadFlags & {
  out?: string;
  divisor: "1024" | "1023";
  maxOverlap: number;
  maxNewTokens?: number;
};

/** What was looked for, and where. */
export type Sought = { file: string; image: RawImage; things: string[]; title: string };

/** What a command that looks for things does with the model, and with what was found. */
export type Finder<Found extends Pick<Detections, "warnings">> = {
  load?: Pick<LoadOptions, "maskWeights">;
  find: (model: PaliGemma, sought: Sought, options: DetectionOptions) => Promise<Found>;
  /** Over the picture, as SVG. */
  draw: (found: Found, picture: { png: Uint8Array; title: string }) => string | Promise<string>;
  print: (found: Found, sought: Sought) => string | Promise<string>;
};

/** Adds `name IMAGE THING...` with the options that all such commands have; `out` says what `--out` draws. */
export function addFindCommand(
  program: Command,
  { name, description, formats, out }: { name: string; description: string; formats: string[]; out: string },
): Command {
  return addLoadOptions(program.command(name))
    .description(description)
    .addArgument(pictureArgument())
    .argument("<thing...>", "what is looked for")
    .addOption(new Option("--format <name>", "what is printed").choices(formats).default("table"))
    .addOption(new Option("--divisor <n>", "what a location is divided by").choices(["1024", "1023"]).default("1024"))
    .option(
      "--max-overlap <iou>",
      "drop an object that another of its label covers by more",
      numberFor("--max-overlap"),
      1,
    )
    .option("--max-new-tokens <n>", "stop after n tokens", numberFor("--max-new-tokens"))
    .addOption(drawingOption(`draw ${out} over the picture, to a .png or .svg file`));
}

/** Runs such a command: finds, draws, prints, and tells the warnings. */
export async function runFind<Found extends Pick<Detections, "warnings">>(
  { file, things, command }: { file: string; things: string[]; command: string },
  flags: FindFlags,
  { load, find, draw, print }: Finder<Found>,
): Promise<void> {
  const { out, maxOverlap, maxNewTokens } = flags;
  const image = await decodeImage(file, "image", { fetchPictures: flags.fetchPictures });
  const sought = { file, things, image, title: `${command} ${things.join(" ; ")}` };
  const model = await loadWithProgress(flags, load);
  try {
    const divisor = flags.divisor === "1023" ? 1023 : 1024;
    const found = await find(model, sought, { divisor, maxOverlap, maxNewTokens });
    if (out !== undefined) {
      await writePicture(out, await draw(found, { png: await encodePng(sought.image), title: sought.title }));
    }
    process.stdout.write(await print(found, sought));
    for (const warning of found.warnings) process.stderr.write(`warning: ${warning}\n`);
  } finally {
    model.dispose();
  }
}

/** The objects as a table, with what else there is to say of each. */
export function objectTable<Object extends Detection>(
  objects: readonly Object[],
  { out }: Pick<FindFlags, "out">,
  more: { title: string; of: (object: Object) => string }[] = [],
): string {
  const rows = objects.map((object) => {
    const { left, top, right, bottom } = object.box;
    const box = [left, top, right, bottom].map((at) => at.toFixed(1)).join(" ");
    return [object.label, object.score.toFixed(3), box, ...more.map(({ of }) => of(object))];
  });
  const titles = ["label", "score", "left top right bottom", ...more.map(({ title }) => title)];
  return (
    (rows.length === 0 ? "nothing found\n" : columns([titles, ...rows])) + (out === undefined ? "" : `-> ${out}\n`)
  );
}

/** COCO's categories: what was looked for, numbered from 1. */
export const categoriesOf = (things: readonly string[]): Record<string, number> =>
  Object.fromEntries(things.map((thing, i) => [thing, i + 1]));
