import { readdirSync, readFileSync } from "node:fs";
import path from "node:path";

import { packageRoot } from "../../src/base/package-root.js";

const root = packageRoot();

/** Languages of fenced blocks: all but `text` are executed or used as data. */
export const LANGUAGES = ["sh", "ts", "json", "jsonl", "python", "text"];

/** One page of the documentation. `name` is its path from the root. */
export class Page {
  readonly text: string;
  constructor(readonly name: string) {
    this.text = readFileSync(path.join(root, name), "utf8");
  }

  /** The fenced blocks of a language. */
  blocks(language: string): string[] {
    return [...this.text.matchAll(new RegExp(`^\`\`\`${language}\\n(.*?)^\`\`\`$`, "gms"))].map((match) => match[1]!);
  }

  /** The lines of its `sh` blocks. */
  commands(): string[] {
    return this.blocks("sh").flatMap((block) =>
      block.split("\n").filter((line) => line !== "" && !line.startsWith("#")),
    );
  }

  /** What opens each fenced block, as written. */
  fences(): string[] {
    const lines = this.text.split("\n").filter((line) => /^\s*(```|~~~)/.test(line));
    return lines.filter((_, i) => i % 2 === 0);
  }

  /** The text without fenced blocks. */
  prose(): string {
    return this.text.replaceAll(/^```.*?^```$/gms, "");
  }

  /** Relative links as [path from the root, anchor or null]; a link to an anchor alone leads to this page. */
  links(): [file: string, anchor: string | null][] {
    const links = this.prose()
      .replaceAll(/`[^`\n]*`/g, "")
      .matchAll(/\]\((?!https?:)([^)#\s]*)(?:#([^)\s]+))?\)/g);
    return [...links].map(([, file, anchor]) => [
      file === "" ? this.name : path.posix.join(path.posix.dirname(this.name), file!),
      anchor ?? null,
    ]);
  }

  /** The anchors that GitHub gives to its headings. */
  anchors(): string[] {
    const seen = new Map<string, number>();
    return [...this.prose().matchAll(/^#{1,6} (.+)$/gm)].map(([, heading]) => {
      const slug = heading!
        .toLowerCase()
        .replaceAll(/[^\p{L}\p{N}\s_-]/gu, "")
        .replaceAll(" ", "-");
      const repeated = seen.get(slug) ?? 0;
      seen.set(slug, repeated + 1);
      return repeated === 0 ? slug : `${slug}-${repeated}`;
    });
  }
}

/** README.md, CONTRIBUTING.md and every page of docs/. */
export function allPages(): Page[] {
  const docs = readdirSync(path.join(root, "docs")).filter((name) => name.endsWith(".md"));
  return ["README.md", "CONTRIBUTING.md", ...docs.sort().map((name) => `docs/${name}`)].map((name) => new Page(name));
}
