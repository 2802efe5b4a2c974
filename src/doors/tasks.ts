// Prompts, answers as objects, boxes, masks, exports.
export { LOCATIONS, iou, toPixels, type Box, type PixelBox } from "../grammar/box.js";
export { checkLanguage } from "../grammar/languages.js";
export { CODEBOOK, MASK_CODES, parseObjects, type ParsedAnswer, type ParsedObject } from "../grammar/parse-objects.js";
export {
  answerPrompt,
  boxCaptionPrompt,
  captionPrompt,
  detectPrompt,
  ocrPrompt,
  promptHint,
  questionPrompt,
  segmentPrompt,
  taskOf,
  type CaptionStyle,
  type TaskName,
} from "../grammar/prompts.js";
export { maskAnswer, type MaskedObject } from "../masks/answer.js";
export { MASK_FILES } from "../masks/codec-loader.js";
export { MaskCodec } from "../masks/codec.js";
export { labelMap, maskArea, maskIou } from "../masks/mask.js";
export { pasteHard, pasteSoft } from "../masks/paste.js";
export { decodeRunLengths, encodeRunLengths, type RunLengths } from "../masks/run-lengths.js";
export { readReply } from "../tasks/ask.js";
export { readDetections, type DetectionSource, type ReadingOptions } from "../tasks/detect.js";
export { toCoco, toYolo, type CocoResult } from "../tasks/export-detections.js";
export { scoreAnswers } from "../tasks/score.js";
export { readSegmentations } from "../tasks/segment.js";
export type { FilledOptions } from "../tasks/task-methods.js";
