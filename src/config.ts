/** Kept for one version: scripts beside a checkout that import the config by the path that it had before the rooms. */
export { parseConfig } from "./model/config.js";
