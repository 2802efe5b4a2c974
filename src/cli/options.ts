import { Argument, type Command, Option } from "commander";

import { BACKENDS, type BackendChoice } from "../backends/backend.js";
import { demoCheckpoint } from "../base/demo-checkpoint.js";
import { DTYPES, type DtypeChoice } from "../backends/dtypes.js";
import { InputError } from "../base/errors.js";
import { readsFile, readsModel, writes } from "./declared-files.js";

/** The options of every command that loads weights. */
export type LoadFlags = {
  model?: string;
  revision?: string;
  tokenizer?: string;
  adapter?: string[];
  fetchPictures?: boolean;
  dtype: DtypeChoice;
  backend: BackendChoice;
};

/** `--model`, which every command has. */
export const modelOption = (): Option =>
  readsModel(
    new Option(
      "--model <dir>",
      "model folder (path or URL), or owner/name on the Hugging Face Hub; without it the bundled demo checkpoint",
    ),
    demoCheckpoint,
  );

/** `--revision`, which goes with it. */
export const revisionOption = (): Option =>
  new Option("--revision <name>", "branch, tag or commit of a model on the Hub (default: main)");

/** `--tokenizer`, for weights that come without one. */
export const tokenizerOption = (): Option =>
  readsModel(new Option("--tokenizer <dir>", "folder (path or URL) of the tokenizer (default: that of the weights)"));

/** `--adapter`, which may be given several times. */
export const adapterOption = (): Option =>
  readsModel(
    new Option(
      "--adapter <dir>",
      "LoRA adapter: folder (path or URL) or owner/name on the Hub; several times for several",
    ).argParser((value: string, earlier: string[] = []) => [...earlier, value]),
  );

/** `<image>`, a picture file. */
export const pictureArgument = (description = "picture file"): Argument =>
  readsFile(new Argument("<image>", description));

/** `<image...>`, one picture file or several. */
export const picturesArgument = (description = "picture files"): Argument =>
  readsFile(new Argument("<image...>", description));

/** `--out` of a command that draws. */
export const drawingOption = (description: string): Option =>
  writes(new Option("--out <file>", description), { endings: [".png", ".svg"] });

/** Adds `--model`, `--revision`, `--tokenizer`, `--adapter`, `--fetch-pictures`, `--dtype` and `--backend`. */
export function addLoadOptions(command: Command): Command {
  return command
    .addOption(modelOption())
    .addOption(revisionOption())
    .addOption(tokenizerOption())
    .addOption(adapterOption())
    .option("--fetch-pictures", "fetch pictures that are given as http(s) addresses, which are refused otherwise")
    .addOption(new Option("--dtype <type>", "type of the numbers").choices(DTYPES).default("auto"))
    .addOption(new Option("--backend <name>", "where to compute").choices(BACKENDS).default("auto"));
}

/** A parser of `flag`'s value as a finite number. Throws `InputError` naming the flag. */
export function numberFor(flag: string): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (text.trim() === "" || !Number.isFinite(value)) {
      throw new InputError(`${flag}: expected a number, received "${text}"`);
    }
    return value;
  };
}
