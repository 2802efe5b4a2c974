export * from "./adapter-file.js";
export * from "./config.js";
export * from "./expected.js";
export * from "./modules.js";
export * from "./python-regex.js";
export * from "./spelling.js";
export * from "./targets.js";
