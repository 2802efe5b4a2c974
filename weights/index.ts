export { Checkpoint, type CheckpointEntry, type WeightScope } from "./checkpoint.js";
export { bytesOf, DTYPES, fromFloat32, isDType, isFloat, toFloat32, toInt32 } from "./dtype.js";
export type { DType, FloatDType } from "./dtype.js";
export { WeightsError } from "./errors.js";
export { canonicalName, canonicalNames, EMBEDDING, isIgnored, LM_HEAD } from "./names.js";
export { encodeSafetensors, MAX_HEADER_BYTES, readHeader, writeSafetensors } from "./safetensors.js";
export type { SafetensorsHeader, TensorData, TensorEntry } from "./safetensors.js";
export { MAX_WHOLE_FILE, memorySource, openFile, openFolder, type ByteSource, type Folder } from "./source.js";
