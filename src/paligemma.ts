import type * as tf from "@tensorflow/tfjs";

import { type Folder, openFolder } from "../weights/source.js";
import type { AdapterInfo } from "./adapters/adapter-info.js";
import { adaptedPlace, adapterNames } from "./adapters/adapter-model.js";
import { type AdapterChoice, Adapters } from "./adapters/adapters.js";
import { type BackendChoice, type BackendName, useBackend } from "./backend.js";
import { numImageTokens, type PaliGemmaConfig, patchGrid } from "./config.js";
import { demoCheckpoint } from "./demo-checkpoint.js";
import type { Dtype, DtypeChoice } from "./dtypes.js";
import { InputError } from "./errors.js";
import { decode } from "./decoding/decode.js";
import type { DecodingOptions, FinishReason } from "./decoding/options.js";
import { type GenerationOptions, inTokens } from "./decoding/text-options.js";
import { type ModelInputs } from "./inputs.js";
import type { ActivationCache } from "./inspection/activation-cache.js";
import type { Intervention } from "./inspection/edit-tap.js";
import { type CaptureRequest, editedForward, type RunRequest, runAndKeep } from "./inspection/run.js";
import { type CapturedPiece, decodeAndKeep } from "./inspection/generation.js";
import { promptPass } from "./inspection/pass.js";
import { tokenizerFolder } from "./keras-preset.js";
import { type LoadProgress, loadConfig, loadNetwork } from "./load-network.js";
import type { MaskCodec } from "./masks/codec.js";
import { MaskCodecLoader } from "./masks/codec-loader.js";
import type { ForwardOptions, PaliGemmaModel } from "./model.js";
import { type HubOptions, type ModelProgress, placeOf } from "./model-place.js";
import { type ProcessedInputs, Processor } from "./processor.js";
import { loadImageProcessorConfig } from "./processor-config.js";
import type { Segment } from "./segments.js";
import { type Settings, settingsWith } from "./settings.js";
import { type DetectionOptions, type Detections, type DetectionSource, readDetections } from "./tasks/detect.js";
import { readSegmentations, type SegmentationOptions, type Segmentations } from "./tasks/segment.js";
import { scoreAnswers, type ScoredAnswer } from "./tasks/score.js";
import type { Box } from "./tasks/box.js";
import { readReply, type Reply } from "./tasks/ask.js";
import {
  answerPrompt,
  boxCaptionPrompt,
  captionPrompt,
  type CaptionStyle,
  detectPrompt,
  ocrPrompt,
  questionPrompt,
  segmentPrompt,
} from "./tasks/prompts.js";
import { loadTokenizer, type Tokenizer } from "./tokenizer.js";
import type { Answer } from "./questions/answer.js";
import { type Answerer, answerQuestions, type BatchOptions } from "./questions/answer-batch.js";
import { createAnswerStream } from "./questions/answer-stream.js";
import { Batcher, type BatcherOptions } from "./questions/batcher.js";
import { batchInputs, encodePicture, type OwnedInputs } from "./questions/batch-inputs.js";
import { EncodedPicture } from "./questions/encoded-picture.js";
import { partsOf, type Picture, type Question, readable, sizeOf } from "./questions/question.js";

/** What `PaliGemma.load` may be told. */
export type LoadOptions = HubOptions & {
  backend?: BackendChoice | undefined;
  /** The type that matrices are held in. Default "auto": as stored where the backend holds any, else float32. */
  dtype?: DtypeChoice | undefined;
  /** Where implementations disagree; default: what transformers 5.x computes. */
  settings?: Partial<Settings> | undefined;
  /** "text": special tokens typed into a prompt stay text, for prompts from strangers. Default: they become their ids. */
  specialTokens?: "ids" | "text" | undefined;
  /** Folder (path or URL) of the tokenizer, for weights that come without one. Default: that of the weights. */
  tokenizer?: string | undefined;
  /** LoRA adapters that PEFT has saved (path, URL, or `owner/name` on the Hub): all are active, each named by the last part of its path. */
  adapter?: string | readonly string[] | undefined;
  /** Path or URL of the weights of masks, which `segment` loads at its first call. Default: the first of `MASK_FILES` in the folder. */
  maskWeights?: string | undefined;
  onProgress?: ((progress: ModelProgress) => void) | undefined;
  signal?: AbortSignal | undefined;
};

/** Which version of an adapter on the Hub is meant, and who may stop its loading. */
export type AdapterLoadOptions = HubOptions & { signal?: AbortSignal | undefined };

/** How an answer is generated, and in which language (default "en"; one of `LANGUAGES`). */
export type LanguageOptions = GenerationOptions & { language?: string | undefined };

/** How a caption is generated, in which language, and how it is worded (default "caption"). */
export type CaptionOptions = LanguageOptions & { style?: CaptionStyle | undefined };

/** A piece of an answer: one new id, and the text that became certain with it (it may be empty). */
export type AnswerPiece = {
  token: number;
  text: string;
  finishReason: FinishReason | null;
  /** Where `logProbabilities` was asked for. */
  logProbability?: number;
};

/** One run with its activations. Dispose `logits` and `cache` when done. */
export type CachedRun<Logits extends tf.Tensor | null = tf.Tensor> = RunLayout & {
  /** [B, T, V]; null where the run ended before them. */
  logits: Logits;
  cache: ActivationCache;
};

/** What the positions of a run are. */
export type RunLayout = {
  /** The ids of each row, and what each position is. */
  tokens: number[][];
  segments: Segment[][];
  /** Patches along each side of a picture. */
  grid: [rows: number, columns: number];
};

const nameOf = ({ name, weightFile }: Folder): string => (weightFile === undefined ? name : `${name}/${weightFile}`);

/** A loaded checkpoint: asks, streams, runs and inspects. */
export class PaliGemma {
  private disposed = false;
  private readonly lora: Adapters;

  private constructor(
    /** The folder or address that it came from, without anything secret. */
    readonly name: string,
    readonly config: PaliGemmaConfig,
    readonly tokenizer: Tokenizer,
    readonly processor: Processor,
    /** The network alone, for callers who bring their own tensors. */
    readonly network: PaliGemmaModel,
    readonly backend: BackendName,
    private readonly masks: MaskCodecLoader,
    /** The path or URL of its folder or weight file, and that of its tokenizer's folder; a URL may hold a secret. */
    readonly origin: { readonly place: string; readonly tokenizer: string },
  ) {
    this.lora = new Adapters(network);
  }

  /** The type that the matrices are held in; activations are float32 with each. */
  get dtype(): Dtype {
    return this.network.dtype;
  }

  /**
   * Loads a model folder (path or http(s) URL), or one weight file with what lies beside it, in any form that `findWeights` knows; or
   * a model on the Hugging Face Hub (`owner/name`, downloaded into its cache as far as it is not there); without one, the bundled demo.
   * The folder of an adapter stands for its base model, where that is a folder here, with the adapter.
   * Throws `ConfigError`, `WeightsError`, `InputError` or `BackendError`, each saying what to do.
   */
  static async load(name?: string, options: LoadOptions = {}): Promise<PaliGemma> {
    const { dtype, specialTokens = "ids", onProgress, signal } = options;
    const settings = settingsWith(options.settings);
    const { place, adapters } = await adaptedPlace(await placeOf(name ?? demoCheckpoint(), options), signal);
    // Masks are loaded later, when what stops the loading of the model has no say any more.
    const open = (until?: AbortSignal) => openFolder(place, until);
    const folder = await open(signal);
    const written = await loadConfig(folder);
    const addedTokens = { "<image>": written.imageTokenId };
    const words = options.tokenizer === undefined ? folder : await openFolder(options.tokenizer, signal);
    const tokenizer = await loadTokenizer(await tokenizerFolder(words), { addedTokens, specialTokens });
    // Where both files name an id, the tokenizer's is what the reference's processor puts into the prompt.
    const { bosTokenId = written.bosTokenId, padTokenId = written.padTokenId } = tokenizer;
    const config = { ...written, bosTokenId, padTokenId };
    const processor = new Processor({
      tokenizer,
      imageSize: config.vision.imageSize,
      imageTokenId: config.imageTokenId,
      numImageTokens: numImageTokens(config),
      bosTokenId: config.bosTokenId,
      padTokenId: config.padTokenId,
      resize: settings.resize,
      imageConfig: await loadImageProcessorConfig(folder),
    });
    const backend = await useBackend(options.backend);
    const report = (progress: LoadProgress) => onProgress?.({ phase: "load", ...progress });
    const network = await loadNetwork(folder, config, settings, { backend, dtype, onProgress: report, signal });
    const model = new PaliGemma(
      name === undefined ? "demo" : nameOf(folder),
      config,
      tokenizer,
      processor,
      network,
      backend,
      new MaskCodecLoader({ open: () => open(), weights: options.maskWeights, backend }),
      { place, tokenizer: options.tokenizer ?? place },
    );
    await model.addAdapters([...adapters, ...[options.adapter ?? []].flat()], { onNotice: options.onNotice, signal });
    return model;
  }

  private async addAdapters(places: readonly string[], options: AdapterLoadOptions): Promise<void> {
    const named = adapterNames(places);
    try {
      for (const [name, place] of named) await this.loadAdapter(name, place, options);
      if (named.size > 0) this.lora.set([...named.keys()]);
    } catch (error) {
      this.dispose();
      throw error;
    }
  }

  /** The LoRA adapters that are loaded: how much each brings to which part, and the factor that it is active with. */
  get adapters(): AdapterInfo[] {
    return this.lora.list;
  }

  /**
   * Loads an adapter that PEFT has saved (`adapter_config.json`, `adapter_model.safetensors`) from a folder, a URL or the Hub, under a name
   * of your own, for `setAdapters`. Throws `InputError` for a name that is taken, and `WeightsError` that lists whatever does not fit.
   */
  async loadAdapter(name: string, place: string, options: AdapterLoadOptions = {}): Promise<AdapterInfo> {
    this.checkAlive();
    return this.lora.load(name, await placeOf(place, options), options);
  }

  /**
   * Makes these adapters the active ones, and no others; `[]`: none. Names, or names with a factor for the low-rank part of each. A run or
   * an answer that is under way ends in an `InputError` then. Throws `InputError` for unknown names and for adapters that exclude each other.
   */
  setAdapters(adapters: AdapterChoice): void {
    this.checkAlive();
    this.lora.set(adapters);
  }

  /** Frees an adapter. Throws `InputError` for an unknown name, and while it is merged. */
  unloadAdapter(name: string): void {
    this.checkAlive();
    this.lora.unload(name);
  }

  /** Folds the active adapters into the weights: nothing is slower then than without, and each changed matrix is there twice. */
  async mergeAdapters(): Promise<void> {
    this.checkAlive();
    await this.lora.merge();
  }

  /** Takes the merged adapters out again, to the bit. */
  unmergeAdapters(): void {
    this.checkAlive();
    this.lora.unmerge();
  }

  /** Answers a question about its picture. Throws `InputError` for what cannot be asked, and the signal's reason when aborted. */
  async generate(question: Question, options: GenerationOptions = {}): Promise<Answer> {
    const [answer] = await this.generateBatch([question], options);
    return answer;
  }

  /**
   * Answers questions with prompts of any length, `batchSize` at a time; each answer is the one that its question gets alone, and
   * a picture of several questions is encoded once. Throws as `generate` does, for any of them.
   */
  async generateBatch(questions: readonly Question[], options: BatchOptions = {}): Promise<Answer[]> {
    this.checkAlive();
    const answers = await answerQuestions(questions, this.answerer, options);
    return answers.map(({ timings, ...rest }) => ({ ...rest, backend: this.backend, dtype: this.dtype, timings }));
  }

  /**
   * A picture after the vision tower and the projector, to be used as `image` in questions about it, which then skip both; the
   * caller disposes it.
   */
  async encodePicture(picture: Picture): Promise<EncodedPicture> {
    this.checkAlive();
    return encodePicture(picture, this.answerer);
  }

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
    const answer = await this.generate({ image, prompt }, { ...rest, logProbabilities: true });
    return readReply(answer, prompt, { tokenizer: this.tokenizer, size: await sizeOf(image), divisor, maxOverlap });
  }

  /** Groups concurrent calls of its `generate` into batches. */
  batcher(options: BatcherOptions = {}): Batcher {
    return new Batcher(this, options);
  }

  /**
   * The log-likelihood of given answers to a question, in their order: for multiple choice, or for a perplexity. The picture is
   * encoded once.
   */
  async score(
    question: Question,
    answers: readonly string[],
    options: { signal?: AbortSignal | undefined } = {},
  ): Promise<ScoredAnswer[]> {
    this.checkAlive();
    return scoreAnswers(question, answers, this.answerer, options);
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

  /** Codes to masks and back, with the weights that `segment` uses; it stays the model's. Throws as `segment` does. */
  async maskCodec(): Promise<MaskCodec> {
    this.checkAlive();
    return this.masks.codec();
  }

  private async find(image: Picture, prompt: string, options: GenerationOptions): Promise<DetectionSource> {
    const size = await sizeOf(image);
    const decoding = { stopAtRepeatedBox: true, ...options, logProbabilities: true };
    const { tokens, logProbabilities } = await this.generate({ image, prompt }, decoding);
    return { tokens, logProbabilities: logProbabilities!, tokenizer: this.tokenizer, size };
  }

  /** The answer piece by piece, as it is decoded. Leaving the loop frees everything. */
  async *stream(question: Question, options: GenerationOptions = {}): AsyncGenerator<AnswerPiece, void, void> {
    requireOneAnswer(options);
    const inputs = await this.inputsOf(question);
    try {
      yield* this.pieces(inputs, options);
    } finally {
      inputs.dispose();
    }
  }

  /**
   * Logits [B, T, V] of every position of a question, or of ready inputs; the caller disposes them.
   * Options: a tap that sees and may replace activations, a decoding state, the last row only.
   */
  async forward(inputs: Question | ModelInputs, options: ForwardOptions = {}): Promise<tf.Tensor> {
    return this.withInputs(inputs, (ready) => this.network.forwardAsync(ready, options));
  }

  /**
   * One forward pass that keeps the activations chosen by `hooks` (globs or a predicate over names), or the part of them that
   * `positions` and `keys` select. Throws `InputError` before it runs where that would take more than the budget.
   */
  runWithCache(inputs: Question | ModelInputs, request: RunRequest & { stopAt?: undefined }): Promise<CachedRun>;
  runWithCache(inputs: Question | ModelInputs, request: RunRequest): Promise<CachedRun<tf.Tensor | null>>;
  async runWithCache(inputs: Question | ModelInputs, request: RunRequest): Promise<CachedRun<tf.Tensor | null>> {
    return this.withInputs(inputs, async (ready) => ({
      ...(await runAndKeep(this.network, ready, request)),
      ...this.layoutOf(ready),
    }));
  }

  /** The ids of a question, what each position is, and the patches along each side of a picture. */
  describe(inputs: Question | ModelInputs): Promise<RunLayout> {
    return this.withInputs(inputs, async (ready) => this.layoutOf(ready));
  }

  /** Logits [B, T, V] of one forward pass in which activations are changed, by declared edits or by callbacks; the caller disposes them. */
  async runWithHooks(inputs: Question | ModelInputs, edits: readonly Intervention[]): Promise<tf.Tensor> {
    return this.withInputs(inputs, (ready) => editedForward(this.network, ready, edits));
  }

  /**
   * An answer token by token, each with its log-probability and the activations of the pass that chose it: step 0 is the
   * prompt's. The consumer disposes each `cache`.
   */
  async *generateWithCache(
    question: Question,
    { capture, ...options }: GenerationOptions & { capture: CaptureRequest },
  ): AsyncGenerator<CapturedPiece, void, void> {
    requireOneAnswer(options);
    const inputs = await this.inputsOf(question);
    try {
      yield* decodeAndKeep(this.network, inputs, this.inTokens(options), capture);
    } finally {
      inputs.dispose();
    }
  }

  /** Picture and prompt as the network takes them. */
  async process(question: Question): Promise<ProcessedInputs> {
    const { pictures, prompt } = partsOf(question);
    const images = pictures.map((picture) => {
      if (!(picture instanceof EncodedPicture)) return readable(picture);
      throw new InputError("image: an encoded picture has no pixels to process; give the picture itself");
    });
    return this.processor.process([await Promise.all(images)], [prompt]);
  }

  /** Frees the weights. The object cannot be used afterwards. */
  dispose(): void {
    if (!this.disposed) {
      this.lora.dispose();
      this.network.dispose();
      this.masks.dispose();
    }
    this.disposed = true;
  }

  private layoutOf(ready: ModelInputs): RunLayout {
    const segments = promptPass(this.config, ready).segments.map((row) => [...row]);
    const side = patchGrid(this.config);
    return { tokens: ready.inputIds.map((row) => [...row]), segments, grid: [side, side] };
  }

  private async *pieces(inputs: ModelInputs, options: GenerationOptions): AsyncGenerator<AnswerPiece, void, void> {
    const text = createAnswerStream(this.tokenizer, options.stopStrings);
    for await (const step of decode(this.network, inputs, this.inTokens(options))) {
      const [token] = step.tokens;
      const [finishReason] = step.finished;
      const logProbability = step.logProbabilities?.[0];
      const piece = text.push(token) + (finishReason === null ? "" : text.end());
      yield { token, text: piece, finishReason, ...(logProbability !== undefined && { logProbability }) };
      this.checkAlive();
    }
  }

  /** Runs with a question as the network takes it, and frees its pixels afterwards; ready inputs stay the caller's. */
  async withInputs<R>(inputs: Question | ModelInputs, run: (ready: ModelInputs) => Promise<R>): Promise<R> {
    this.checkAlive();
    if ("inputIds" in inputs) return run(inputs);
    const ready = await this.inputsOf(inputs);
    try {
      return await run(ready);
    } finally {
      ready.dispose();
    }
  }

  private async inputsOf(question: Question): Promise<OwnedInputs> {
    this.checkAlive();
    return batchInputs([question], this.answerer);
  }

  private get answerer(): Answerer {
    return { model: this.network, processor: this.processor, tokenizer: this.tokenizer };
  }

  private inTokens(options: GenerationOptions): DecodingOptions {
    return inTokens(options, { tokenizer: this.tokenizer, eosTokenIds: this.config.eosTokenIds });
  }

  private checkAlive(): void {
    if (this.disposed) throw new InputError("model: it has been disposed; load it again");
  }
}

// What is streamed cannot be taken back for a better answer.
function requireOneAnswer({ numBeams = 1, bestOf = 1 }: GenerationOptions): void {
  if (numBeams === 1 && bestOf === 1) return;
  throw new InputError("numBeams, bestOf: expected 1 where tokens are shown as they come; use generate");
}
