import { main } from "./setup.js";

process.exitCode = await main(process.argv.slice(2));
