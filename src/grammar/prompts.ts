import { InputError } from "../base/errors.js";
import { described } from "../base/options.js";
import { type Box, LOCATIONS } from "./box.js";
import { checkLanguage, LANGUAGES } from "./languages.js";

/** How a caption is worded: "cap" as raw alt texts are, "caption" short, "describe" longer. */
export type CaptionStyle = "cap" | "caption" | "describe";

const STYLES: readonly CaptionStyle[] = ["cap", "caption", "describe"];

/** `{style} {language}`. Throws `InputError` for a language that is none of `LANGUAGES`. */
export function captionPrompt(language = "en", style: CaptionStyle = "caption"): string {
  if (!STYLES.includes(style))
    throw new InputError(`style: expected one of ${STYLES.join(", ")}, received ${described(style)}`);
  return `${style} ${checkLanguage(language)}`;
}

/** `ocr`: the text in a picture, in reading order. */
export const ocrPrompt = (): string => "ocr";

/** `answer {language} {question}`. */
export const answerPrompt = (question: string, language = "en"): string =>
  `answer ${checkLanguage(language)} ${content("question", question)}`;

/** `question {language} {answer}`: asks for a question that has that answer. */
export const questionPrompt = (answer: string, language = "en"): string =>
  `question ${checkLanguage(language)} ${content("answer", answer)}`;

/** `detect {thing} ; {thing}`. */
export const detectPrompt = (...things: string[]): string => `detect ${listed(things)}`;

/** `segment {thing} ; {thing}`. */
export const segmentPrompt = (...things: string[]): string => `segment ${listed(things)}`;

/** `caption <loc y0><loc x0><loc y1><loc x1>`: what is in a box, given in 1024ths of the picture's sides. */
export function boxCaptionPrompt(box: Box): string {
  if (!Array.isArray(box)) throw new InputError(`box: expected [y0, x0, y1, x1], received ${described(box)}`);
  const wrong = (box as readonly number[]).find((at) => !Number.isInteger(at) || at < 0 || at >= LOCATIONS);
  if (box.length !== 4 || wrong !== undefined) {
    throw new InputError(`box: expected four whole numbers in [0, ${LOCATIONS}), received ${JSON.stringify(box)}`);
  }
  return `caption ${box.map((at) => `<loc${String(at).padStart(4, "0")}>`).join("")}`;
}

function listed(things: readonly string[]): string {
  if (things.length === 0) throw new InputError("things: expected at least one, received none");
  const separated = things.find((thing) => typeof thing === "string" && thing.includes(";"));
  if (separated !== undefined) {
    throw new InputError(`things: expected names without ";", which parts them, received ${JSON.stringify(separated)}`);
  }
  return things.map((thing) => content("thing", thing)).join(" ; ");
}

function content(what: string, text: string): string {
  if (typeof text !== "string") throw new InputError(`${what}: expected text, received ${described(text)}`);
  const trimmed = text.trim();
  if (trimmed === "") throw new InputError(`${what}: expected some text, received none`);
  if (trimmed.includes("\n")) throw new InputError(`${what}: expected one line, for a newline ends the prompt`);
  return trimmed;
}

/** The tasks that a prompt's first word names. */
export type TaskName = "cap" | "caption" | "describe" | "ocr" | "answer" | "question" | "detect" | "segment";

/** Tasks by their first word, and whether a language code follows. */
const TASKS: Readonly<Record<TaskName, boolean>> = {
  cap: true,
  caption: true,
  describe: true,
  ocr: false,
  answer: true,
  question: true,
  detect: false,
  segment: false,
};

const NAMES = Object.keys(TASKS) as TaskName[];

/** The task that a prompt asks for, or null for free text. */
export function taskOf(prompt: string): TaskName | null {
  const [word] = prompt.trim().split(/\s+/);
  return NAMES.find((name) => name === word) ?? null;
}

/**
 * What a reader may have meant by a prompt that looks like a misspelt task: a sentence, or null. Free text is no
 * mistake, so this only hints: a first word one letter off a task's name or in capitals, and a code that is no language
 * where one is expected.
 */
export function promptHint(prompt: string): string | null {
  const [word = "", second = ""] = prompt.trim().split(/\s+/);
  const task = taskOf(prompt);
  if (task === null) {
    const near = NAMES.find((name) => oneEditApart(name, word.toLowerCase()) || name === word.toLowerCase());
    return near === undefined || near.length < 3 ? null : `"${word}" is no task; "${near}" is`;
  }
  if (!TASKS[task] || second === "" || second.startsWith("<loc") || LANGUAGES.includes(second)) return null;
  return `"${task}" is followed by a language code, and "${second}" is none; there are ${LANGUAGES.join(", ")}`;
}

// Whether one letter more, less or another makes the words equal, or two neighbours exchanged.
function oneEditApart(a: string, b: string): boolean {
  if (a === b || Math.abs(a.length - b.length) > 1 || Math.min(a.length, b.length) < 3) return false;
  let start = 0;
  while (start < Math.min(a.length, b.length) && a[start] === b[start]) start++;
  const [restA, restB] = [a.slice(start), b.slice(start)];
  return (
    restA.slice(1) === restB ||
    restA === restB.slice(1) ||
    restA.slice(1) === restB.slice(1) ||
    (restA.slice(2) === restB.slice(2) && restA[0] === restB[1] && restA[1] === restB[0])
  );
}
