import { ownProcess } from "./own-process.js";
import { main } from "../setup/setup.js";

ownProcess();
process.exitCode = await main(process.argv.slice(2));
