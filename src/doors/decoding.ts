// Choosing tokens: greedy, sampling, beams, rules, log-probabilities.
export { decodeAnswers, type Decoded } from "../decoding/answers.js";
export type { BeamOptions, Hypothesis } from "../decoding/beam-row.js";
export { beamSearch } from "../decoding/beam-search.js";
export { decodeAndKeep, type CapturedPiece } from "../decoding/captured-generation.js";
export { decode, lastLogits, type Step } from "../decoding/decode.js";
export { largest, likeliest, logSumExp } from "../decoding/log-probabilities.js";
export {
  DEFAULT_MAX_NEW_TOKENS,
  finishOf,
  tokenLimits,
  type DecodingOptions,
  type Ending,
} from "../decoding/options.js";
export { tokenRule, type AllowedTokens, type RuleVocabulary, type TokenRules } from "../decoding/rules.js";
export {
  createSampler,
  isSampling,
  warpedProbabilities,
  type Candidate,
  type Sampler,
  type SamplingOptions,
} from "../decoding/sampling.js";
export { beforeStop } from "../decoding/text-options.js";
