// Activations: names, edits, captures, methods, files of runs.
export { noTap, tapAt, type Tap } from "../../layers/tap.js";
export { ActivationCache, type Activation, type Keeping } from "../hooks/activation-cache.js";
export {
  prepareInterventions,
  type HookCallback,
  type HookContext,
  type Intervention,
  type Interventions,
} from "../hooks/edit-tap.js";
export {
  OPERATIONS,
  type Edit,
  type EditValue,
  type NestedNumbers,
  type Operation,
  type Steps,
} from "../hooks/edit.js";
export { selectHooks, type HookFilter } from "../hooks/hook-filter.js";
export { parsePositions, resolvePositions, type Positions } from "../hooks/positions.js";
export { editedForward, runAndKeep, type CaptureRequest, type RunRequest } from "../hooks/run.js";
export type { KeptPart, Selector } from "../hooks/selection.js";
export { attentionRows, meanRow, type AttentionRequest, type AttentionRows } from "../inspection/attention.js";
export {
  directLogitAttribution,
  residualDecomposition,
  type Attribution,
  type AttributionRequest,
  type Component,
  type Decomposition,
  type Share,
} from "../inspection/attribution.js";
export { compareLogits, type LogitComparison } from "../inspection/compare-logits.js";
export {
  compareRuns,
  worstOf,
  type RunDifference,
  type TensorDifference,
  type Unmatched,
} from "../inspection/compare-runs.js";
export {
  attributionPatching,
  gradientMap,
  gradientsOf,
  integratedGradients,
  type GradientMapRequest,
  type GradientRequest,
  type GradientRun,
  type IntegratedGradientsRequest,
} from "../inspection/gradients.js";
export {
  ablateHeads,
  ablateNeurons,
  knockOut,
  meanActivations,
  type AblationOptions,
  type Edge,
  type LayerRange,
} from "../inspection/interventions.js";
export { logitLens, type LensCell, type LensRequest, type LensToken } from "../inspection/lens.js";
export { logProbability, logitDifference, measure, type Metric } from "../inspection/metric.js";
export { activationPatching, type PatchingResult, type PatchingSweep } from "../inspection/patching.js";
export { spliceSae, type SaeSplice, type SpliceOptions } from "../inspection/sae-splice.js";
export { JumpReluSae, type SaeWeights } from "../inspection/sae.js";
export type { StoredRun, StoredTensor } from "../inspection/stored-run.js";
export { hookCatalogue, type AxisLetter, type HookPoint } from "../model/hook-catalogue.js";
export { describeSegments, segmentsOf, type Segment, type SegmentName, type SegmentedRow } from "../model/segments.js";
export { EXPORT_SCHEMA, exportRun, tensorsOf, type KeptPass, type RunDescription } from "../runs/export-run.js";
export { loadSae } from "../runs/load-sae.js";
export { RUN_ENDINGS, readRun, writeRun } from "../runs/run-files.js";
