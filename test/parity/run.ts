export {
  compareHooks,
  EXACT,
  greedyIds,
  type HookResult,
  type ParityResult,
  runParity,
  TOLERANCE,
} from "../../src/parity/run.js";
