import { readFileSync } from "node:fs";
import path from "node:path";

import { format, resolveConfig } from "prettier";
import ts from "typescript";

import { packageRoot } from "../../src/base/package-root.js";

/** One exported name: what it is, and the first sentence of its doc comment ("" without one). */
export type DocumentedName = { name: string; file: string; isType: boolean; sentence: string };

/** The doors of the package in package.json's order: how they are imported, and the file that each is made of. */
export function doors(root = packageRoot()): { specifier: string; file: string }[] {
  const { name, exports } = JSON.parse(readFileSync(path.join(root, "package.json"), "utf8")) as {
    name: string;
    exports: Record<string, { default: string } | string>;
  };
  return Object.entries(exports).flatMap(([door, target]) =>
    typeof target === "string"
      ? []
      : [{ specifier: `${name}${door.slice(1)}`, file: target.default.replace("./dist/", "").replace(/\.js$/, ".ts") }],
  );
}

/** The names that each door exports, in alphabetical order, by its specifier. */
export function namesOfDoors(root = packageRoot()): Map<string, DocumentedName[]> {
  const files = doors(root);
  const { config } = ts.readConfigFile(path.join(root, "tsconfig.json"), (file) => ts.sys.readFile(file));
  const { options } = ts.parseJsonConfigFileContent(config, ts.sys, root);
  const program = ts.createProgram(
    files.map(({ file }) => path.join(root, file)),
    options,
  );
  const checker = program.getTypeChecker();
  return new Map(
    files.map(({ specifier, file }) => {
      const door = checker.getSymbolAtLocation(program.getSourceFile(path.join(root, file))!)!;
      const names = checker.getExportsOfModule(door).map((symbol) => describedName(symbol, checker, root));
      return [specifier, names.sort((a, b) => (a.name < b.name ? -1 : 1))];
    }),
  );
}

function describedName(symbol: ts.Symbol, checker: ts.TypeChecker, root: string): DocumentedName {
  const real = symbol.flags & ts.SymbolFlags.Alias ? checker.getAliasedSymbol(symbol) : symbol;
  const [declaration] = real.declarations!;
  const comment = ts.displayPartsToString(real.getDocumentationComment(checker)).replaceAll(/\s+/g, " ").trim();
  return {
    name: symbol.name,
    file: path.relative(root, declaration!.getSourceFile().fileName),
    isType: !(real.flags & ts.SymbolFlags.Value),
    sentence: /^.*?[.:](?=\s|$)/.exec(comment)?.[0].replace(/:$/, ".") ?? comment,
  };
}

/** docs/names.md: every door with its names. */
export async function namesPage(): Promise<string> {
  const sections = [...namesOfDoors()].map(([specifier, names]) => {
    const rows = names.map(
      ({ name, isType, sentence }) => `- \`${name}\`${isType ? " (type)" : ""}: ${escaped(sentence)}`,
    );
    return [`## ${specifier}`, "", `${names.length} names.`, "", ...rows, ""].join("\n");
  });
  const intro =
    "Every name that the package exports, with the first sentence of its doc comment. `npm run docs:names` writes this page.";
  const page = ["# Exported names", "", intro, "", ...sections].join("\n");
  const file = path.join(packageRoot(), "docs", "names.md");
  return format(page, { ...(await resolveConfig(file)), filepath: file });
}

const escaped = (text: string): string =>
  text.replaceAll("<", "\\<").replaceAll("*", "\\*").replaceAll("_", "\\_").replaceAll("|", "\\|");
