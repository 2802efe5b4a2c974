import { GENERATION_KINDS, type GenerationOptions } from "../decoding/text-options.js";
import type { MaskCodec } from "../masks/codec.js";
import type { Answer } from "../answering/answer.js";
import type { Processor } from "../input/processor.js";
import { decodedPicture, type Picture, type Question } from "../answering/question.js";
import { anything, checkOptions, listed, oneOf, type OptionKinds, text } from "../base/options.js";
import { SPECIAL_TOKENS, type SpecialTokens, type Tokenizer } from "../input/tokenizer/tokenizer.js";
import { readReply, type Reply } from "./ask.js";
import type { Box } from "../grammar/box.js";
import {
  DETECTION_KINDS,
  type DetectionOptions,
  type Detections,
  type DetectionSource,
  readDetections,
} from "./detect.js";
import {
  answerPrompt,
  boxCaptionPrompt,
  captionPrompt,
  type CaptionStyle,
  detectPrompt,
  ocrPrompt,
  questionPrompt,
  segmentPrompt,
} from "../grammar/prompts.js";
import { readSegmentations, SEGMENTATION_KINDS, type SegmentationOptions, type Segmentations } from "./segment.js";

/** How special tokens in the words that are filled into a task are read. */
export type FilledOptions = {
  /** Default "plain": the words are text, whatever tokens they spell. */
  specialTokens?: SpecialTokens | undefined;
};

/** How an answer is generated, and in which language (default "en"; one of `LANGUAGES`). */
export type LanguageOptions = GenerationOptions & { language?: string | undefined };

/** How a caption is generated, in which language, and how it is worded (default "caption"). */
export type CaptionOptions = LanguageOptions & { style?: CaptionStyle | undefined };

const FILLED: OptionKinds<FilledOptions> = { specialTokens: oneOf(...SPECIAL_TOKENS) };
const LANGUAGE: OptionKinds<LanguageOptions> = { ...GENERATION_KINDS, language: text };
const CAPTION: OptionKinds<CaptionOptions> = { ...LANGUAGE, style: anything };
const ANSWER: OptionKinds<LanguageOptions & FilledOptions> = { ...LANGUAGE, ...FILLED };
const DETECT: OptionKinds<DetectionOptions & FilledOptions> = { ...DETECTION_KINDS, ...FILLED };
const SEGMENT: OptionKinds<SegmentationOptions & FilledOptions> = { ...SEGMENTATION_KINDS, ...FILLED };

/** The tasks that PaliGemma was trained on as methods of whatever answers questions. */
export abstract class TaskMethods {
  abstract readonly tokenizer: Tokenizer;
  abstract readonly processor: Processor;

  /** Answers a question about its picture. */
  abstract generate(question: Question, options?: GenerationOptions): Promise<Answer>;

  /** Codes to masks and back; it stays the model's. */
  abstract maskCodec(): Promise<MaskCodec>;

  /** A caption: `{style} {language}`. */
  async caption(image: Question["image"], options: CaptionOptions = {}): Promise<Answer> {
    const { language, style, ...rest } = checkOptions("caption", options, CAPTION);
    return this.generate({ image, prompt: captionPrompt(language, style) }, rest);
  }

  /** The text in a picture, in reading order. */
  async ocr(image: Question["image"], options: GenerationOptions = {}): Promise<Answer> {
    return this.generate({ image, prompt: ocrPrompt() }, checkOptions("ocr", options, GENERATION_KINDS));
  }

  /** A short answer to a question: `answer {language} {question}`. */
  async answer(
    image: Question["image"],
    question: string,
    options: LanguageOptions & FilledOptions = {},
  ): Promise<Answer> {
    const { language, specialTokens = "plain", ...rest } = checkOptions("answer", options, ANSWER);
    return this.generate({ image, prompt: answerPrompt(question, language), specialTokens }, rest);
  }

  /** A question that has the given answer: `question {language} {answer}`. */
  async question(
    image: Question["image"],
    answer: string,
    options: LanguageOptions & FilledOptions = {},
  ): Promise<Answer> {
    const { language, specialTokens = "plain", ...rest } = checkOptions("question", options, ANSWER);
    return this.generate({ image, prompt: questionPrompt(answer, language), specialTokens }, rest);
  }

  /** What is in a box, given in 1024ths of the picture's sides: `caption <loc y0><loc x0><loc y1><loc x1>`. */
  async captionBox(image: Question["image"], box: Box, options: GenerationOptions = {}): Promise<Answer> {
    const prompt = boxCaptionPrompt(box);
    return this.generate(
      { image, prompt, specialTokens: "ids" },
      checkOptions("captionBox", options, GENERATION_KINDS),
    );
  }

  /**
   * Any prompt about one picture, with the objects of an answer that holds locations, and a hint where it looks like a
   * misspelt task.
   */
  async ask(image: Picture, prompt: string, options: DetectionOptions = {}): Promise<Reply> {
    const { divisor, maxOverlap, ...rest } = checkOptions("ask", options, DETECTION_KINDS);
    const { picture, size } = await decodedPicture(image, this.processor);
    const answer = await this.generate({ image: picture, prompt }, { ...rest, logProbabilities: true });
    return readReply(answer, prompt, { tokenizer: this.tokenizer, size, divisor, maxOverlap });
  }

  /**
   * Where things, or a single one, are: `detect {thing} ; {thing}`. What the model writes never throws; see `warnings`.
   */
  async detect(
    image: Picture,
    things: string | readonly string[],
    options: DetectionOptions & FilledOptions = {},
  ): Promise<Detections> {
    const { divisor, maxOverlap, ...rest } = checkOptions("detect", options, DETECT);
    const found = await this.find(image, detectPrompt(...listed(things)), rest);
    return readDetections(found, { divisor, maxOverlap });
  }

  /**
   * Where things, or a single one, are, and their masks over the picture: `segment {thing} ; {thing}`. What the model
   * writes never throws; see `warnings`. Throws `InputError` that says what to fetch where there are no weights of
   * masks.
   */
  async segment(
    image: Picture,
    things: string | readonly string[],
    options: SegmentationOptions & FilledOptions = {},
  ): Promise<Segmentations> {
    const { divisor, maxOverlap, soft, ...rest } = checkOptions("segment", options, SEGMENT);
    const prompt = segmentPrompt(...listed(things));
    const codec = await this.maskCodec();
    return readSegmentations(await this.find(image, prompt, rest), codec, { divisor, maxOverlap, soft });
  }

  private async find(
    image: Picture,
    prompt: string,
    { specialTokens = "plain", ...options }: GenerationOptions & FilledOptions,
  ): Promise<DetectionSource> {
    const { picture, size } = await decodedPicture(image, this.processor);
    const decoding = { stopAtRepeatedBox: true, ...options, logProbabilities: true };
    const { tokens, logProbabilities } = await this.generate({ image: picture, prompt, specialTokens }, decoding);
    return { tokens, logProbabilities: logProbabilities!, tokenizer: this.tokenizer, size };
  }
}
