import { type Command, Option } from "commander";

import { DEFAULT_MAX_NEW_TOKENS } from "../decoding/options.js";
import type { GenerationOptions } from "../decoding/text-options.js";
import { numberFor } from "./options.js";

/** The options of a command that decodes. */
export type DecodingFlags = {
  maxNewTokens?: number;
  temperature?: number;
  topK?: number;
  topP?: number;
  seed?: string;
  bestOf?: number;
  numBeams?: number;
  lengthPenalty?: number;
  earlyStopping?: "true" | "false" | "never";
  numReturnSequences?: number;
  repetitionPenalty?: number;
  badWords?: string[];
  choices?: string[];
  prefix?: string;
  stop?: string[];
  topLogProbabilities?: number;
};

/** What the limit is where nothing says one. */
export const MAX_NEW_TOKENS = `stop after n tokens (default: what generation_config.json says, or ${DEFAULT_MAX_NEW_TOKENS})`;

/** Adds what says how tokens are chosen and where an answer ends. */
export function addDecodingOptions(command: Command): Command {
  const number = (flag: string, description: string) =>
    command.option(`${flag} <n>`, description, numberFor(flag.split(" ")[0]));
  number("--max-new-tokens", MAX_NEW_TOKENS);
  number("--temperature", "sample, with logits divided by n (0: the most likely token)");
  number("--top-k", "sample among the n most likely tokens (0: no limit)");
  number("--top-p", "sample among the most likely tokens that make up n");
  command.option("--seed <seed>", "make sampling repeatable");
  number("--best-of", "sample n answers, and take the one with the highest mean log-probability");
  number("--num-beams", "search with n beams");
  number("--length-penalty", "beams: divide scores by length to the power n");
  command.addOption(
    new Option("--early-stopping <when>", "beams: stop with the first full set").choices(["true", "false", "never"]),
  );
  number("--num-return-sequences", "report the n best of beams or samples (with --json)");
  number("--repetition-penalty", "make tokens less likely that are there already");
  return command
    .option("--bad-words <word...>", "words that never appear")
    .option("--choices <answer...>", "the only answers there are")
    .option("--prefix <text>", "what the answer begins with")
    .option("--stop <text...>", "end before one of these texts")
    .option(
      "--top-log-probabilities <n>",
      "report the n likeliest tokens at each place (with --json)",
      numberFor("--top-log-probabilities"),
    );
}

/** The flags as options of `generate`. */
export function decodingOptions(flags: DecodingFlags): GenerationOptions {
  const { maxNewTokens, temperature, topK, topP, seed, bestOf, repetitionPenalty, badWords } = flags;
  const { numBeams, lengthPenalty, earlyStopping, numReturnSequences, topLogProbabilities } = flags;
  return {
    ...{ maxNewTokens, temperature, topK, topP, seed, bestOf, repetitionPenalty, badWords },
    ...{ numBeams, lengthPenalty, numReturnSequences, topLogProbabilities },
    earlyStopping: earlyStopping === "never" ? "never" : earlyStopping && earlyStopping === "true",
    allowedTokens: flags.choices && { choices: flags.choices },
    forcedPrefix: flags.prefix,
    stopStrings: flags.stop,
  };
}
