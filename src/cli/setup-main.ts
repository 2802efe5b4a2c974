import { ownProcess } from "../cli/own-process.js";
import { main } from "./setup.js";

ownProcess();
process.exitCode = await main(process.argv.slice(2));
