// Everything that the doors of src export, under one name, and what is tested beside.
export * from "../../src/doors/decoding.js";
export * from "../../src/doors/inspection.js";
export * from "../../src/doors/model.js";
export * from "../../src/doors/pictures.js";
export * from "../../src/doors/tasks.js";
export * from "../../src/index.js";
export { checkedBeamOptions } from "../../src/decoding/beam-row.js";
export { inTokens } from "../../src/decoding/text-options.js";
export { openFolder } from "../../weights/index.js";
