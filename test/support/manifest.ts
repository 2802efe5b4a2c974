import { readFileSync } from "node:fs";
import path from "node:path";

import type { Job } from "kubernetes-types/batch/v1.js";
import ts from "typescript";
import { parseDocument } from "yaml";

import { packageRoot } from "../../src/base/package-root.js";

/** The Job in deploy/. Throws for YAML that is not strict. */
export function readManifest(): Job {
  const document = parseDocument(readFileSync(path.join(packageRoot(), "deploy", "batch-job.yaml"), "utf8"));
  if (document.errors.length + document.warnings.length > 0) throw new Error(String(document.errors));
  return document.toJS() as Job;
}

/** What TypeScript says of each of some values that are to be Jobs: unknown fields, missing ones, wrong types. */
export function faultsOfJobs(...jobs: readonly unknown[]): string[][] {
  const form = 'import type { Job } from "kubernetes-types/batch/v1.js"; export const job: Job = ';
  // On no disk, but where node_modules is found.
  const files = jobs.map((_, i) => path.join(packageRoot(), "test", `manifest-${i}.ts`));
  const options: ts.CompilerOptions = {
    ...{ strict: true, noEmit: true, skipLibCheck: true, types: [], lib: ["lib.es5.d.ts"] },
    ...{ module: ts.ModuleKind.NodeNext, target: ts.ScriptTarget.ES2022 },
  };
  const host = ts.createCompilerHost(options);
  const [read, exists] = [host.getSourceFile.bind(host), host.fileExists.bind(host)];
  host.fileExists = (name) => files.includes(name) || exists(name);
  host.getSourceFile = (name, version) => {
    const own = files.indexOf(name);
    return own < 0 ? read(name, version) : ts.createSourceFile(name, form + JSON.stringify(jobs[own]), version);
  };
  const program = ts.createProgram(files, options, host);
  return files.map((file) =>
    [
      ...program.getSyntacticDiagnostics(program.getSourceFile(file)),
      ...program.getSemanticDiagnostics(program.getSourceFile(file)),
    ].map(({ messageText }) => ts.flattenDiagnosticMessageText(messageText, "\n")),
  );
}

/**
 * Arguments with `$(NAME)` replaced, as the kubelet does it: `$$` is a dollar sign that begins no reference, and a
 * reference to a variable that is not there stays. Source: Kubernetes, third_party/forked/golang/expansion.
 */
export function expanded(args: readonly string[], variables: Readonly<Record<string, string>>): string[] {
  return args.map((arg) =>
    arg.replace(/\$\$|\$\(([^)]*)\)/g, (written, name: string | undefined) =>
      name === undefined ? "$" : (variables[name] ?? written),
    ),
  );
}
