// The parts that the model is made of: network, config, inputs, processor, tokenizer, adapters.
export type { AdapterCount, ModelPart } from "../adapters/adapter-info.js";
export { Adapters } from "../adapters/adapters.js";
export { DEFAULT_BATCH_SIZE, answerQuestions, type Answerer, type BareAnswer } from "../answering/answer-batch.js";
export type { Timings } from "../answering/answer.js";
export type { PictureEncoder } from "../answering/encoded-picture.js";
export { frameIndices } from "../answering/video.js";
export type { BackendName } from "../backends/backend.js";
export { adapterSummary, type AdapterSummary } from "../checkpoints/info/adapter-summary.js";
export type { FilesFound } from "../checkpoints/info/files.js";
export type { NamesLayout } from "../checkpoints/info/layout.js";
export type { Part, PartSummary } from "../checkpoints/info/parts.js";
export type { Statistics } from "../checkpoints/info/statistics.js";
export type { TensorInfo } from "../checkpoints/info/tensors.js";
export type { TokenizerSummary } from "../checkpoints/info/tokenizer-summary.js";
export {
  countFrames,
  decodeFrames,
  isPixelTensor,
  type DecodeOptions,
  type PixelTensorInput,
} from "../input/image/decode.js";
export { MAX_IMAGE_FILE_BYTES } from "../input/image/image-file.js";
export { MAX_IMAGE_PIXELS } from "../input/image/raw-image.js";
export {
  DEFAULT_IMAGE_CONFIG,
  loadImageProcessorConfig,
  parseImageProcessorConfig,
  type ImageProcessorConfig,
  type ProcessorFolder,
} from "../input/processor-config.js";
export {
  IGNORED_LABEL,
  IMAGE_MARK,
  Processor,
  type LayOutOptions,
  type ProcessOptions,
  type ProcessedInputs,
  type ProcessedPicture,
  type ProcessorOptions,
  type PromptRow,
} from "../input/processor.js";
export { resizeAsBigVision, resizeBilinearAntialias } from "../input/resize/resize-tensorflow.js";
export { resize, type ResizeFilter } from "../input/resize/resize.js";
export type { TokenizerFolder } from "../input/tokenizer/tokenizer-files.js";
export {
  SPECIAL_TOKENS,
  createStreamDecoder,
  loadTokenizer,
  type SpecialTokens,
  type StreamDecoder,
  type TokenizerOptions,
} from "../input/tokenizer/tokenizer.js";
export type { BatchModel } from "../jobs/answer-group.js";
export type { BatchAnswer, BatchFailure } from "../jobs/batch-result.js";
export { WHOLE, parseShard, shardFile, shardOf, type Shard } from "../jobs/shard.js";
export { loadConfig, loadNetwork, type LoadProgress, type NetworkLoadOptions } from "../loading/load-network.js";
export {
  describeVariant,
  numImageTokens,
  parseConfig,
  patchGrid,
  type LayerType,
  type PaliGemmaConfig,
  type TextConfig,
  type VisionConfig,
} from "../model/config.js";
export { DecoderState } from "../model/decoder-state.js";
export { completeInputs, layoutOf, type CompleteInputs, type ModelInputs } from "../model/inputs.js";
export { PaliGemmaModel, expectedTensors, type ForwardOptions } from "../model/model.js";
export { settingsWith, type Resize } from "../model/settings.js";
export type { AdapterLoadOptions } from "../paligemma.js";
