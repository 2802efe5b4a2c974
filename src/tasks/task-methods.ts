import type { GenerationOptions } from "../decoding/text-options.js";
import type { MaskCodec } from "../masks/codec.js";
import type { Answer } from "../questions/answer.js";
import { decodedPicture, type Picture, type Question } from "../questions/question.js";
import type { Tokenizer } from "../tokenizer.js";
import { readReply, type Reply } from "./ask.js";
import type { Box } from "./box.js";
import { type DetectionOptions, type Detections, type DetectionSource, readDetections } from "./detect.js";
import {
  answerPrompt,
  boxCaptionPrompt,
  captionPrompt,
  type CaptionStyle,
  detectPrompt,
  ocrPrompt,
  questionPrompt,
  segmentPrompt,
} from "./prompts.js";
import { readSegmentations, type SegmentationOptions, type Segmentations } from "./segment.js";

/** How an answer is generated, and in which language (default "en"; one of `LANGUAGES`). */
export type LanguageOptions = GenerationOptions & { language?: string | undefined };

/** How a caption is generated, in which language, and how it is worded (default "caption"). */
export type CaptionOptions = LanguageOptions & { style?: CaptionStyle | undefined };

/** The tasks that PaliGemma was trained on as methods of whatever answers questions. */
export abstract class TaskMethods {
  abstract readonly tokenizer: Tokenizer;

  /** Answers a question about its picture. */
  abstract generate(question: Question, options?: GenerationOptions): Promise<Answer>;

  /** Codes to masks and back; it stays the model's. */
  abstract maskCodec(): Promise<MaskCodec>;

  /** A caption: `{style} {language}`. */
  caption(image: Question["image"], options: CaptionOptions = {}): Promise<Answer> {
    const { language, style, ...rest } = options;
    return this.generate({ image, prompt: captionPrompt(language, style) }, rest);
  }

  /** The text in a picture, in reading order. */
  ocr(image: Question["image"], options: GenerationOptions = {}): Promise<Answer> {
    return this.generate({ image, prompt: ocrPrompt() }, options);
  }

  /** A short answer to a question: `answer {language} {question}`. */
  answer(image: Question["image"], question: string, options: LanguageOptions = {}): Promise<Answer> {
    const { language, ...rest } = options;
    return this.generate({ image, prompt: answerPrompt(question, language) }, rest);
  }

  /** A question that has the given answer: `question {language} {answer}`. */
  question(image: Question["image"], answer: string, options: LanguageOptions = {}): Promise<Answer> {
    const { language, ...rest } = options;
    return this.generate({ image, prompt: questionPrompt(answer, language) }, rest);
  }

  /** What is in a box, given in 1024ths of the picture's sides: `caption <loc y0><loc x0><loc y1><loc x1>`. */
  captionBox(image: Question["image"], box: Box, options: GenerationOptions = {}): Promise<Answer> {
    return this.generate({ image, prompt: boxCaptionPrompt(box) }, options);
  }

  /** Any prompt about one picture, with the objects of an answer that holds locations, and a hint where it looks like a misspelt task. */
  async ask(image: Picture, prompt: string, options: DetectionOptions = {}): Promise<Reply> {
    const { divisor, maxOverlap, ...rest } = options;
    const { picture, size } = await decodedPicture(image);
    const answer = await this.generate({ image: picture, prompt }, { ...rest, logProbabilities: true });
    return readReply(answer, prompt, { tokenizer: this.tokenizer, size, divisor, maxOverlap });
  }

  /** Where things are: `detect {thing} ; {thing}`. What the model writes never throws; see `warnings`. */
  async detect(image: Picture, things: readonly string[], options: DetectionOptions = {}): Promise<Detections> {
    const { divisor, maxOverlap, ...rest } = options;
    const found = await this.find(image, detectPrompt(...things), rest);
    return readDetections(found, { divisor, maxOverlap });
  }

  /**
   * Where things are, and their masks over the picture: `segment {thing} ; {thing}`. What the model writes never throws; see `warnings`.
   * Throws `InputError` that says what to fetch where there are no weights of masks.
   */
  async segment(image: Picture, things: readonly string[], options: SegmentationOptions = {}): Promise<Segmentations> {
    const { divisor, maxOverlap, soft, ...rest } = options;
    const prompt = segmentPrompt(...things);
    const codec = await this.maskCodec();
    return readSegmentations(await this.find(image, prompt, rest), codec, { divisor, maxOverlap, soft });
  }

  private async find(image: Picture, prompt: string, options: GenerationOptions): Promise<DetectionSource> {
    const { picture, size } = await decodedPicture(image);
    const decoding = { stopAtRepeatedBox: true, ...options, logProbabilities: true };
    const { tokens, logProbabilities } = await this.generate({ image: picture, prompt }, decoding);
    return { tokens, logProbabilities: logProbabilities!, tokenizer: this.tokenizer, size };
  }
}
