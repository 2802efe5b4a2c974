import * as tf from "@tensorflow/tfjs";

import type { WeightScope } from "../../layers/checkpoint-layer.js";
import type { HeldDtype } from "../../layers/stored.js";
import { interleave } from "../../layers/interleave.js";
import { Projector } from "../../layers/projector.js";
import { noTap, type Tap, tapAt } from "../../layers/tap.js";
import type { Weight } from "../../layers/weight.js";
import { LM_HEAD } from "../../weights/names.js";
import { numImageTokens, type PaliGemmaConfig } from "./config.js";
import { DecoderState } from "./decoder-state.js";
import { InputError } from "../base/errors.js";
import { GemmaDecoder, type LogitRows } from "./gemma.js";
import { hookCatalogue } from "./hook-catalogue.js";
import { requireFiring, requireFiringInEncoder } from "./hook-reach.js";
import { checkedReplacement } from "./hook-replacement.js";
import { type CompleteInputs, completeInputs, type ModelInputs } from "./inputs.js";
import { abortSignal, anything, callback, checkOptions, oneOf, type OptionKinds } from "../base/options.js";
import { buildPart, hasWeights, namedWeights, type Part } from "./section.js";
import { hf5, type Settings } from "./settings.js";
import { SiglipTower } from "./siglip.js";
import { atOnce, inTurns, replace, type Steps } from "./turns.js";
import { switchBackend } from "./switch-backend.js";

/** What a forward pass may be asked for besides its logits. */
export type ForwardOptions = {
  /** Sees, and may replace, every named activation. */
  tap?: Tap | undefined;
  /** Keys and values of earlier positions; the new ones are added. */
  state?: DecoderState | undefined;
  /** Logits of every position (default), or of the last of each row only. */
  rows?: LogitRows | undefined;
};

/** Of each of them. */
export const FORWARD_KINDS: OptionKinds<ForwardOptions> = {
  tap: callback,
  state: anything,
  rows: oneOf("all", "last"),
};
const FORWARD_ASYNC_KINDS = { ...FORWARD_KINDS, signal: abortSignal };

/** The network: SigLIP, the projector and the Gemma decoder. The only place that knows both towers. */
export class PaliGemmaModel {
  /**
   * Every layer with the path of its tensors, in the order of computation; `build` or `buildPart` creates the weights.
   */
  readonly parts: readonly Part[];
  private readonly vision: SiglipTower;
  private readonly projector: Projector;
  /** The decoder, for those who look into it. */
  readonly language: GemmaDecoder;
  /**
   * How often the weights have been given another meaning; what was begun before such a change cannot be gone on with.
   */
  private revision = 0;
  private picturesChanged = 0;
  /** Throws where the weights are not those that were loaded. */
  private requireIntact: () => void = () => {};
  /** The backend that the weights are made on; where none was chosen yet, the one of the first run. */
  private backend: string | undefined = tf.getBackend();
  private disposed = false;

  constructor(
    readonly config: PaliGemmaConfig,
    readonly settings: Settings = hf5,
    checkpoint?: WeightScope,
  ) {
    const { vision, text } = config;
    this.vision = new SiglipTower(vision, settings, checkpoint);
    const scope = checkpoint?.at("multi_modal_projector");
    this.projector = new Projector({ name: "multi_modal_projector", scope, projectionDim: text.hiddenSize });
    this.language = new GemmaDecoder(text, settings, checkpoint);
    const features: tf.Shape = [null, numImageTokens(config), vision.hiddenSize];
    this.parts = [
      ...this.vision.parts,
      { path: "multi_modal_projector", layer: this.projector, inputShapes: [features] },
      ...this.language.parts,
    ];
  }

  /** Creates every weight at once: random, or from a checkpoint that is in memory. */
  build(): this {
    this.parts.forEach(buildPart);
    return this;
  }

  /** Every weight by its name in the checkpoint, and the matrix of the output head. Once they are built. */
  weights(): ReadonlyMap<string, Weight> {
    return new Map([...this.parts.flatMap(namedWeights), [LM_HEAD, this.language.unembed.head]]);
  }

  /**
   * To be called when weights of these names mean something else than before: passes that run, and decoding that has
   * begun, then fail.
   */
  weightsChanged(names: readonly string[]): void {
    this.revision++;
    if (names.some((name) => !name.startsWith("language_model."))) this.picturesChanged++;
  }

  /** How often that concerned the vision tower or the projector: pictures encoded before are of another model. */
  get pictureRevision(): number {
    return this.picturesChanged;
  }

  /**
   * An empty memory for decoding with this model; the caller disposes it. `capacity`: positions that will come, if
   * known.
   */
  newState(capacity = 0): DecoderState {
    return new DecoderState(this.config.text.numHiddenLayers, capacity);
  }

  /**
   * Logits [B, T, V] of every position, or [B, 1, V] of the last with `rows: "last"`; the caller owns them. Throws
   * `InputError` when the inputs do not fit together or a tap returns another shape. A run that fails midway empties
   * the state.
   */
  forward(inputs: ModelInputs, options: ForwardOptions = {}): tf.Tensor {
    checkOptions("forward", options, FORWARD_KINDS);
    this.ready();
    return tf.tidy(() => atOnce(this.steps(inputs, options)));
  }

  /**
   * The same without holding the event loop up: between blocks timers, sockets and `signal` have their turn, and on a
   * backend that computes beside JavaScript also while a block is computed. Rejects with the signal's reason when
   * aborted.
   */
  async forwardAsync(
    inputs: ModelInputs,
    given: ForwardOptions & { signal?: AbortSignal | undefined } = {},
  ): Promise<tf.Tensor> {
    const { signal, ...options } = checkOptions("forward", given, FORWARD_ASYNC_KINDS);
    // A single token is a few milliseconds of JavaScript; a pause at each of its blocks would cost more than that.
    const everyStep = !(inputs.inputIds?.[0]?.length === 1);
    const { revision } = this;
    const resume = () => {
      this.ready();
      if (this.revision !== revision) throw new InputError("adapters: they were changed while a run was under way");
    };
    return inTurns(this.steps(inputs, options), { signal, everyStep, resume });
  }

  private *steps(inputs: ModelInputs, { tap = noTap, state, rows = "all" }: ForwardOptions): Steps<tf.Tensor> {
    state?.begin(this.revision);
    const seen = state?.attentionMask.map((row) => row.reduce((sum, real) => sum + real, 0));
    const cached = state?.attentionMask[0]?.length ?? 0;
    const complete = completeInputs(this.config, inputs, this.settings.positionOffset, { seen, cached });
    if (rows === "last" && complete.attentionMask.some((row) => row.at(-1) === 0)) {
      throw new InputError(
        "attentionMask: expected every row to end in a real token (pad on the left), received a pad",
      );
    }
    // Of later passes every tap knows that no picture comes with them.
    if (cached === 0 && !complete.pixelValues) requireFiring("tap", this.namesWanted(tap), complete);
    let finished = false;
    try {
      const logits = yield* this.run(complete, checkedTap(tap), state, rows);
      finished = true;
      return logits;
    } finally {
      if (!finished) state?.dispose(); // some layers may hold the new positions and others not
    }
  }

  private *run(complete: CompleteInputs, tap: Tap, state: DecoderState | undefined, rows: LogitRows): Steps<tf.Tensor> {
    const { attentionMask, tokenTypeIds, positionIds } = complete;
    state?.extend(attentionMask, tokenTypeIds);
    const layout = {
      attentionMask: state?.attentionMask ?? attentionMask,
      tokenTypes: state?.tokenTypes ?? tokenTypeIds,
      positions: positionIds,
    };
    const embeddings = yield* this.embed(complete, tap);
    return yield* this.language.forward(embeddings, layout, { tap: tapAt(tap, "language"), state, rows });
  }

  /** The names that a tap says it wants; none where it takes whatever comes. */
  private namesWanted({ wants }: Tap): string[] {
    if (wants === undefined) return [];
    return hookCatalogue(this.config)
      .map(({ name }) => name)
      .filter(wants);
  }

  /** Pixels [I, S, S, 3] in [-1, 1] -> rows [I, P, D] as they enter the decoder; the caller owns them. */
  encodeImages(pixelValues: tf.Tensor, tap: Tap = noTap): tf.Tensor {
    this.ready();
    requireFiringInEncoder("tap", this.namesWanted(tap));
    return tf.tidy(() => atOnce(this.imageRows(pixelValues, checkedTap(tap))));
  }

  /**
   * Rows [..., D] that a residual stream of the vision tower [..., Dv] would give as its last; the caller owns them.
   */
  projected(residual: tf.Tensor): tf.Tensor {
    return tf.tidy(() => this.projector.apply(this.vision.featuresOf(residual)) as tf.Tensor);
  }

  private *imageRows(pixelValues: tf.Tensor, tap: Tap): Steps<tf.Tensor> {
    const features = yield* this.vision.forward(pixelValues, tapAt(tap, "vision"));
    return replace(features, () => this.projector.apply(features, { tap: tapAt(tap, "projector") }) as tf.Tensor);
  }

  /** The type that the decoder's matrices are held in; activations are float32. */
  get dtype(): HeldDtype {
    return this.language.heldAs;
  }

  /** Sets what `ready` calls: it throws where a file that weights are mapped from is not what it was. */
  guard(requireIntact: () => void): void {
    this.requireIntact = requireIntact;
  }

  /** Makes the backend of the weights the current one. Throws as `requireWeights` does. */
  activate(): void {
    this.requireWeights();
    this.backend ??= tf.getBackend();
    switchBackend(this.backend);
  }

  /**
   * The same before and after weights are read: throws `WeightsError` naming a mapped file that was cut or written to
   * since it was opened.
   */
  ready(): void {
    this.activate();
    this.requireIntact();
  }

  /** Throws `InputError` once the network was disposed, or its variables were, which any code in the process can do. */
  requireWeights(): void {
    if (this.disposed) throw new InputError("model: it has been disposed; load it again");
    const { layer } = this.parts[0]!;
    if (!layer.built || hasWeights(layer)) return;
    throw new InputError(
      "model: its weights were disposed by other code (tf.disposeVariables frees all variables of the process); load it again",
    );
  }

  /** Frees every weight. */
  dispose(): void {
    this.disposed = true;
    for (const { layer } of this.parts) if (layer.built) layer.dispose();
  }

  // Text rows come scaled from the table, image rows unscaled from the projector; here both are put in reading order.
  private *embed({ pixelValues, imageRows, inputIds }: CompleteInputs, tap: Tap): Steps<tf.Tensor> {
    const images = imageRows?.clone() ?? (pixelValues && (yield* this.imageRows(pixelValues, tap)));
    try {
      if (images) yield; // what follows reads them
      return tf.tidy(() => this.rows(inputIds, images, tap).clone());
    } finally {
      images?.dispose();
    }
  }

  private rows(inputIds: CompleteInputs["inputIds"], images: tf.Tensor | null, tap: Tap): tf.Tensor {
    const isImage = (id: number) => images !== null && id === this.config.imageTokenId;
    const texts = inputIds.map((row) => row.filter((id) => !isImage(id)));
    const even = texts.every((row) => row.length === texts[0]!.length);
    const ids = tf.tensor2d((even ? texts : [texts.flat()]) as number[][], undefined, "int32");
    const text = this.language.embedding.apply(ids, { tap: tapAt(tap, "language") }) as tf.Tensor;
    if (images === null) return text;
    const fromImages = inputIds.map((row) => row.map(isImage));
    return interleave(images, text, fromImages);
  }
}

// A replacement of another shape would be broadcast, or fail far from the hook.
function checkedTap(tap: Tap): Tap {
  if (tap === noTap) return noTap;
  const checked: Tap = (name, value) => checkedReplacement("tap", name, value, tap(name, value));
  return tap.wants ? Object.assign(checked, { wants: tap.wants }) : checked;
}

/** Name and shape of every tensor that a model of this config reads, found by building it without any. */
export function expectedTensors(config: PaliGemmaConfig): Map<string, number[]> {
  const expected = new Map<string, number[]>();
  const recorder = (prefix: string): WeightScope => ({
    at: (path) => recorder(prefix === "" ? path : `${prefix}.${path}`),
    get: (name, shape) => {
      expected.set(`${prefix}.${name}`, shape);
      return tf.scalar(0);
    },
    matrix: (name, shape) => recorder(prefix).get(name, shape),
  });
  const model = new PaliGemmaModel(config, hf5, recorder("")).build();
  model.dispose();
  return expected;
}
