import type { Folder } from "../../weights/byte-source.js";
import { openFolder } from "../../weights/source.js";
import { adaptedPlace } from "../adapters/adapter-model.js";
import { type BackendChoice, type BackendName, useBackend } from "../backends/backend.js";
import { numImageTokens, type PaliGemmaConfig } from "../model/config.js";
import { boundedTokenizer } from "../input/tokenizer/bounded-tokenizer.js";
import { demoCheckpoint } from "../base/demo-checkpoint.js";
import type { GenerationDefaults } from "../decoding/defaults.js";
import type { DtypeChoice } from "../backends/dtypes.js";
import { loadGenerationConfig } from "./generation-config.js";
import { tokenizerFolder } from "./keras-preset.js";
import { type LoadProgress, loadConfig, loadNetwork } from "./load-network.js";
import { MaskCodecLoader } from "../masks/codec-loader.js";
import type { PaliGemmaModel } from "../model/model.js";
import { HUB_KINDS, type HubOptions, type ModelProgress, placeOf } from "./resolve-model.js";
import { abortSignal, anything, callback, flag, oneOf, type OptionKinds, text, textOrTexts } from "../base/options.js";
import { Processor, type ProcessorOptions } from "../input/processor.js";
import { loadImageProcessorConfig } from "../input/processor-config.js";
import { type Settings, settingsWith } from "../model/settings.js";
import { loadTokenizer, SPECIAL_TOKENS, type SpecialTokens, type Tokenizer } from "../input/tokenizer/tokenizer.js";

/** What `PaliGemma.load` may be told. */
export type LoadOptions = HubOptions & {
  backend?: BackendChoice | undefined;
  /** The type that matrices are held in. Default "auto": as stored where the backend holds any, else float32. */
  dtype?: DtypeChoice | undefined;
  /** Where implementations disagree; default: what transformers 5.x computes. */
  settings?: Partial<Settings> | undefined;
  /**
   * What becomes of special tokens typed into a prompt: "text" or "plain" for prompts from strangers. Default "ids".
   */
  specialTokens?: SpecialTokens | undefined;
  /**
   * Whether pictures given as http(s) addresses are fetched, each at most 64 MiB within 30 s. Default: they are
   * refused.
   */
  fetchPictures?: boolean | undefined;
  /** Folder (path or URL) of the tokenizer, for weights that come without one. Default: that of the weights. */
  tokenizer?: string | undefined;
  /**
   * LoRA adapters that PEFT has saved (path, URL, or `owner/name` on the Hub): all are active, each named by the last
   * part of its path.
   */
  adapter?: string | readonly string[] | undefined;
  /**
   * Path or URL of the weights of masks, which `segment` loads at its first call. Default: the first of `MASK_FILES` in
   * the folder.
   */
  maskWeights?: string | undefined;
  onProgress?: ((progress: ModelProgress) => void) | undefined;
  signal?: AbortSignal | undefined;
};

/** Of each of them; names of backends and types, and settings, are checked where they are used. */
export const LOAD_KINDS: OptionKinds<LoadOptions> = {
  ...HUB_KINDS,
  backend: text,
  dtype: text,
  settings: anything,
  specialTokens: oneOf(...SPECIAL_TOKENS),
  fetchPictures: flag,
  tokenizer: text,
  adapter: textOrTexts,
  maskWeights: text,
  onProgress: callback,
  signal: abortSignal,
};

/** What a `PaliGemma` is made of. */
export type ModelParts = {
  /** The folder or address that it came from, without anything secret. */
  name: string;
  config: PaliGemmaConfig;
  tokenizer: Tokenizer;
  processor: Processor;
  /** What its generation_config.json sets. */
  generationDefaults: GenerationDefaults;
  network: PaliGemmaModel;
  backend: BackendName;
  masks: MaskCodecLoader;
  /** The path or URL of its folder or weight file, and that of its tokenizer's folder; a URL may hold a secret. */
  origin: { readonly place: string; readonly tokenizer: string };
};

/**
 * Everything of a model, as `PaliGemma.load` describes it, and the places of the adapters that are to go onto it. The
 * caller disposes `network` and `masks`.
 */
export async function loadParts(
  name: string | undefined,
  options: LoadOptions,
): Promise<ModelParts & { adapters: string[] }> {
  const { dtype, onProgress, onNotice, signal } = options;
  const settings = settingsWith(options.settings);
  const { place, adapters } = await adaptedPlace(await placeOf(name ?? demoCheckpoint(), options), signal);
  const folder = await openFolder(place, signal);
  const written = await loadConfig(folder);
  const tokenizer = await tokenizerOf(folder, written, options);
  // Where both files name an id, the tokenizer's is what the reference's processor puts into the prompt.
  const { bosTokenId = written.bosTokenId, padTokenId = written.padTokenId } = tokenizer;
  const generation = await loadGenerationConfig(folder, written.text.vocabSize);
  const config = {
    ...written,
    bosTokenId,
    padTokenId,
    eosTokenIds: [...(generation.eosTokenIds ?? written.eosTokenIds)],
  };
  const { fetchPictures } = options;
  const processor = await processorOf(folder, config, tokenizer, { resize: settings.resize, fetchPictures });
  const backend = await useBackend(options.backend);
  const report = (progress: LoadProgress) => onProgress?.({ phase: "load", ...progress });
  const network = await loadNetwork(folder, config, settings, {
    ...{ backend, dtype, onNotice, signal },
    onProgress: report,
  });
  return {
    name: name === undefined ? "demo" : nameOf(folder),
    config: network.config,
    tokenizer,
    processor,
    generationDefaults: generation,
    network,
    backend,
    // Masks are loaded later, when what stops the loading of the model has no say any more.
    masks: new MaskCodecLoader({ open: () => openFolder(place), weights: options.maskWeights, backend }),
    origin: { place, tokenizer: options.tokenizer ?? place },
    adapters: [...adapters, ...[options.adapter ?? []].flat()],
  };
}

async function tokenizerOf(
  folder: Folder,
  { imageTokenId, text }: PaliGemmaConfig,
  { tokenizer: place, specialTokens = "ids", signal }: LoadOptions,
): Promise<Tokenizer> {
  const words = place === undefined ? folder : await openFolder(place, signal);
  const addedTokens = { "<image>": imageTokenId };
  const tokenizer = await loadTokenizer(await tokenizerFolder(words), { addedTokens, specialTokens });
  return boundedTokenizer(tokenizer, text.maxPositionEmbeddings);
}

async function processorOf(
  folder: Folder,
  config: PaliGemmaConfig,
  tokenizer: Tokenizer,
  own: Pick<ProcessorOptions, "resize" | "fetchPictures">,
): Promise<Processor> {
  return new Processor({
    tokenizer,
    imageSize: config.vision.imageSize,
    imageTokenId: config.imageTokenId,
    numImageTokens: numImageTokens(config),
    bosTokenId: config.bosTokenId,
    padTokenId: config.padTokenId,
    ...own,
    imageConfig: await loadImageProcessorConfig(folder),
  });
}

const nameOf = ({ name, weightFile }: Folder): string => (weightFile === undefined ? name : `${name}/${weightFile}`);
