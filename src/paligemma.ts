import type * as tf from "@tensorflow/tfjs";

import type { AdapterInfo } from "./adapters/adapter-info.js";
import { adapterNames } from "./adapters/adapter-model.js";
import { type AdapterChoice, Adapters } from "./adapters/adapters.js";
import type { BackendName } from "./backends/backend.js";
import { type PaliGemmaConfig, patchGrid } from "./model/config.js";
import { decode } from "./decoding/decode.js";
import { type GenerationDefaults, withDefaults } from "./decoding/defaults.js";
import type { DecodingOptions, FinishReason } from "./decoding/options.js";
import { GENERATION_KINDS, type GenerationOptions, inTokens } from "./decoding/text-options.js";
import type { Dtype } from "./backends/dtypes.js";
import { InputError } from "./base/errors.js";
import { checkedInputs, type ModelInputs } from "./model/inputs.js";
import type { ActivationCache } from "./hooks/activation-cache.js";
import { type Intervention, prepareInterventions } from "./hooks/edit-tap.js";
import { type CapturedPiece, decodeAndKeep } from "./decoding/captured-generation.js";
import { promptPass } from "./hooks/pass.js";
import { type CaptureRequest, editedForward, type RunRequest, runAndKeep } from "./hooks/run.js";
import { LOAD_KINDS, type LoadOptions, loadParts, type ModelParts } from "./loading/load-parts.js";
import type { MaskCodec } from "./masks/codec.js";
import type { MaskCodecLoader } from "./masks/codec-loader.js";
import { FORWARD_KINDS, type ForwardOptions, type PaliGemmaModel } from "./model/model.js";
import { HUB_KINDS, type HubOptions, placeOf, requirePlace } from "./loading/resolve-model.js";
import { abortSignal, anything, checkOptions, type OptionKinds } from "./base/options.js";
import type { ProcessedInputs, Processor } from "./input/processor.js";
import type { Answer } from "./answering/answer.js";
import { type Answerer, answerQuestions, BATCH_KINDS, type BatchOptions } from "./answering/answer-batch.js";
import { createAnswerStream } from "./answering/answer-stream.js";
import { batchInputs, encodePicture, type OwnedInputs } from "./answering/batch-inputs.js";
import { Batcher, type BatcherOptions } from "./answering/batcher.js";
import { EncodedPicture } from "./answering/encoded-picture.js";
import { partsOf, type Picture, type Question, readable } from "./answering/question.js";
import type { Segment } from "./model/segments.js";
import { scoreAnswers, type ScoredAnswer, type ScoreOptions } from "./tasks/score.js";
import { TaskMethods } from "./tasks/task-methods.js";
import type { Tokenizer } from "./input/tokenizer/tokenizer.js";

/** Which version of an adapter on the Hub is meant, and who may stop its loading. */
export type AdapterLoadOptions = HubOptions & { signal?: AbortSignal | undefined };

const ADAPTER_LOAD_KINDS: OptionKinds<AdapterLoadOptions> = { ...HUB_KINDS, signal: abortSignal };
const CAPTURED_KINDS: OptionKinds<GenerationOptions & { capture: CaptureRequest }> = {
  ...GENERATION_KINDS,
  capture: anything,
};

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

/** A loaded checkpoint: asks, streams, runs and inspects. */
export class PaliGemma extends TaskMethods {
  /** The folder or address that it came from, without anything secret. */
  readonly name: string;
  readonly config: PaliGemmaConfig;
  readonly tokenizer: Tokenizer;
  readonly processor: Processor;
  /** The network alone, for callers who bring their own tensors. */
  readonly network: PaliGemmaModel;
  readonly backend: BackendName;
  /** How it decodes where a call does not say: what its generation_config.json sets. */
  readonly generationDefaults: GenerationDefaults;
  /** The path or URL of its folder or weight file, and that of its tokenizer's folder; a URL may hold a secret. */
  readonly origin: ModelParts["origin"];
  private readonly masks: MaskCodecLoader;
  private readonly lora: Adapters;
  private disposed = false;

  private constructor(parts: ModelParts) {
    super();
    this.name = parts.name;
    this.config = parts.config;
    this.tokenizer = parts.tokenizer;
    this.processor = parts.processor;
    this.network = parts.network;
    this.backend = parts.backend;
    this.generationDefaults = parts.generationDefaults;
    this.origin = parts.origin;
    this.masks = parts.masks;
    this.lora = new Adapters(parts.network);
  }

  /** The type that the matrices are held in; activations are float32 with each. */
  get dtype(): Dtype {
    return this.network.dtype;
  }

  /**
   * Loads a model folder (path or http(s) URL), or one weight file with what lies beside it, in any form that
   * `findWeights` knows; or a model on the Hugging Face Hub (`owner/name`, downloaded into its cache as far as it is
   * not there); without one, the bundled demo. The folder of an adapter stands for its base model, where that is a
   * folder here, with the adapter. Throws `ConfigError`, `WeightsError`, `InputError` or `BackendError`, each saying
   * what to do.
   */
  static async load(name?: string, options: LoadOptions = {}): Promise<PaliGemma> {
    checkOptions("load", options, LOAD_KINDS);
    if (name !== undefined) requirePlace("load", name);
    const { adapters, ...parts } = await loadParts(name, options);
    const model = new PaliGemma(parts);
    await model.addAdapters(adapters, { onNotice: options.onNotice, signal: options.signal });
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
   * Loads an adapter that PEFT has saved (`adapter_config.json`, `adapter_model.safetensors`) from a folder, a URL or
   * the Hub, under a name of your own, for `setAdapters`. Throws `InputError` for a name that is taken, and
   * `WeightsError` that lists whatever does not fit.
   */
  async loadAdapter(name: string, place: string, options: AdapterLoadOptions = {}): Promise<AdapterInfo> {
    const { signal } = checkOptions("loadAdapter", options, ADAPTER_LOAD_KINDS);
    requirePlace("loadAdapter", place);
    this.checkAlive();
    return this.lora.load(name, await placeOf(place, options), { signal });
  }

  /**
   * Makes these adapters the active ones, and no others; `[]`: none. Names, or names with a factor for the low-rank
   * part of each. A run or an answer that is under way ends in an `InputError` then. Throws `InputError` for unknown
   * names and for adapters that exclude each other.
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

  /**
   * Folds the active adapters into the weights: nothing is slower then than without, and each changed matrix is there
   * twice.
   */
  async mergeAdapters(): Promise<void> {
    this.checkAlive();
    await this.lora.merge();
  }

  /** Takes the merged adapters out again, to the bit. */
  unmergeAdapters(): void {
    this.checkAlive();
    this.lora.unmerge();
  }

  /**
   * Answers a question about its picture. Throws `InputError` for what cannot be asked, and the signal's reason when
   * aborted.
   */
  async generate(question: Question, options: GenerationOptions = {}): Promise<Answer> {
    checkOptions("generate", options, GENERATION_KINDS);
    const [answer] = await this.generateBatch([question], options);
    return answer;
  }

  /**
   * Answers questions, or a single one, with prompts of any length, `batchSize` at a time; each answer is the one that
   * its question gets alone, and a picture of several questions is encoded once. Throws as `generate` does, for any of
   * them.
   */
  async generateBatch(questions: Question | readonly Question[], options: BatchOptions = {}): Promise<Answer[]> {
    checkOptions("generateBatch", options, BATCH_KINDS);
    this.checkAlive();
    const answers = await answerQuestions(questions, this.answerer, this.inForce(options));
    return answers.map(({ timings, ...rest }) => ({ ...rest, backend: this.backend, dtype: this.dtype, timings }));
  }

  /**
   * A picture after the vision tower and the projector, to be used as `image` in questions about it, which then skip
   * both; the caller disposes it.
   */
  async encodePicture(picture: Picture): Promise<EncodedPicture> {
    this.checkAlive();
    return encodePicture(picture, this.answerer);
  }

  /** Groups concurrent calls of its `generate` into batches. */
  batcher(options: BatcherOptions = {}): Batcher {
    return new Batcher(this, options);
  }

  /**
   * The log-likelihood of given answers, or of one, to a question, in their order: for multiple choice, or for a
   * perplexity. The picture is encoded once.
   */
  async score(
    question: Question,
    answers: string | readonly string[],
    options: ScoreOptions = {},
  ): Promise<ScoredAnswer[]> {
    this.checkAlive();
    return scoreAnswers(question, answers, this.answerer, options);
  }

  /** Codes to masks and back, with the weights that `segment` uses; it stays the model's. Throws as `segment` does. */
  async maskCodec(): Promise<MaskCodec> {
    this.checkAlive();
    return this.masks.codec();
  }

  /** The answer piece by piece, as it is decoded. Leaving the loop frees everything. */
  async *stream(question: Question, options: GenerationOptions = {}): AsyncGenerator<AnswerPiece, void, void> {
    const { stopStrings } = this.inForce(checkOptions("stream", options, GENERATION_KINDS));
    const decoding = this.oneAnswer(options);
    const inputs = await this.inputsOf(question);
    try {
      yield* this.pieces(inputs, decoding, stopStrings);
    } finally {
      inputs.dispose();
    }
  }

  /**
   * Logits [B, T, V] of every position of a question, or of ready inputs; the caller disposes them.
   * Options: a tap that sees and may replace activations, a decoding state, the last row only.
   */
  async forward(inputs: Question | ModelInputs, options: ForwardOptions = {}): Promise<tf.Tensor> {
    const { tap } = checkOptions("forward", options, FORWARD_KINDS);
    if (tap) prepareInterventions([tap], this.config); // refuses a tap that no activation of this model will reach
    return this.withInputs(inputs, (ready) => this.network.forwardAsync(ready, options));
  }

  /**
   * One forward pass that keeps the activations chosen by `hooks` (globs or a predicate over names), or the part of
   * them that `positions` and `keys` select. Throws `InputError` before it runs where that would take more than the
   * budget.
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

  /**
   * Logits [B, T, V] of one forward pass in which activations are changed, by declared edits or by callbacks; the
   * caller disposes them.
   */
  async runWithHooks(inputs: Question | ModelInputs, edits: readonly Intervention[]): Promise<tf.Tensor> {
    return this.withInputs(inputs, (ready) => editedForward(this.network, ready, edits));
  }

  /**
   * An answer token by token, each with its log-probability and the activations of the pass that chose it: step 0 is
   * the prompt's. The consumer disposes each `cache`.
   */
  async *generateWithCache(
    question: Question,
    request: GenerationOptions & { capture: CaptureRequest },
  ): AsyncGenerator<CapturedPiece, void, void> {
    const { capture, ...options } = checkOptions("generateWithCache", request, CAPTURED_KINDS);
    const decoding = this.oneAnswer(options);
    const inputs = await this.inputsOf(question);
    try {
      yield* decodeAndKeep(this.network, inputs, decoding, capture);
    } finally {
      inputs.dispose();
    }
  }

  /** Picture and prompt as the network takes them. */
  async process(question: Question): Promise<ProcessedInputs> {
    const { pictures, prompt, specialTokens } = partsOf(question);
    const images = pictures.map((picture) => {
      if (!(picture instanceof EncodedPicture)) return readable(picture);
      throw new InputError("image: an encoded picture has no pixels to process; give the picture itself");
    });
    return this.processor.process([await Promise.all(images)], [prompt], { specialTokens });
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

  private async *pieces(
    inputs: ModelInputs,
    decoding: DecodingOptions,
    stopStrings: GenerationOptions["stopStrings"],
  ): AsyncGenerator<AnswerPiece, void, void> {
    const text = createAnswerStream(this.tokenizer, stopStrings);
    for await (const step of decode(this.network, inputs, decoding)) {
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
    if (isReady(inputs)) {
      this.checkAlive();
      return run(checkedInputs(inputs));
    }
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

  /**
   * What a call decodes with: its options, and where it leaves one out what the model's generation_config.json sets.
   */
  inForce<Options extends GenerationOptions>(options: Options): Options {
    checkOptions<BatchOptions>("inForce", options, BATCH_KINDS);
    return withDefaults(options, this.generationDefaults);
  }

  /**
   * The options in force in token ids, for one answer that is shown as it comes. Throws `InputError` for beams and
   * several answers.
   */
  oneAnswer(options: GenerationOptions): DecodingOptions {
    const asked = inTokens(this.inForce(options), { tokenizer: this.tokenizer, eosTokenIds: this.config.eosTokenIds });
    const { numBeams = 1, lengthPenalty, earlyStopping, ...decoding } = asked;
    // What is streamed cannot be taken back for a better answer.
    if (numBeams === 1 && (decoding.copies ?? 1) === 1) return decoding;
    throw new InputError("numBeams, bestOf: expected 1 where tokens are shown as they come; use generate");
  }

  private checkAlive(): void {
    this.network.requireWeights();
  }
}

const isReady = (inputs: Question | ModelInputs): inputs is ModelInputs =>
  typeof inputs === "object" && inputs !== null && "inputIds" in inputs;
