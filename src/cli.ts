#!/usr/bin/env node
import { ownProcess } from "./cli/own-process.js";
import { runCli } from "./cli/program.js";

ownProcess();
// A reader that has seen enough (`| head`) closes the pipe: that is no error.
process.stdout.on("error", (error: NodeJS.ErrnoException) => {
  if (error.code !== "EPIPE") throw error;
  process.exit(0);
});

process.exitCode = await runCli(process.argv.slice(2));
