export { compare, type Difference, isConstant } from "../../src/parity/compare.js";
