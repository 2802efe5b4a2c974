import picomatch from "picomatch";

import { InputError } from "../base/errors.js";
import { atOnce, described, listed } from "../base/options.js";

/**
 * Which activations are wanted: a glob, several, or a predicate over names. `*` matches within one dotted part, `**`
 * any number of parts, `{a,b}` alternatives: `language.blocks.*.attn.hook_pattern`, `vision.**`.
 */
export type HookFilter = string | readonly string[] | ((name: string) => boolean);

/**
 * The names that the filter selects, in catalogue order. Throws `InputError` for a glob or a predicate that matches
 * nothing.
 */
export function selectHooks(filter: HookFilter, names: readonly string[]): string[] {
  const chosen = new Set(selectEach(filter, names).flat());
  return names.filter((name) => chosen.has(name));
}

/** The same for each glob of the filter by itself. */
export function selectEach(filter: HookFilter, names: readonly string[]): string[][] {
  if (typeof filter === "function") {
    const matching = names.filter((name) => atOnce("hooks", filter(name)));
    if (matching.length > 0) return [matching];
    throw new InputError("hooks: the predicate selects no activation (the command `hooks` lists all)");
  }
  const globs = listed(filter);
  if (globs.length === 0) throw new InputError("hooks: expected at least one glob, received none");
  return globs.map((glob) => {
    if (typeof glob !== "string" || glob === "") {
      throw new InputError(`hooks: expected a glob, received ${described(glob)}`);
    }
    const matching = names.filter(globMatcher(glob));
    if (matching.length > 0) return matching;
    const near = nearest(glob, names).join(", ");
    throw new InputError(
      `hooks: "${glob}" matches no activation; near it are ${near} (the command \`hooks\` lists all)`,
    );
  });
}

// Dotted names become paths, so that a well-known glob engine sees the parts.
function globMatcher(glob: string): (name: string) => boolean {
  const asPath = (text: string) => text.replaceAll(".", "/");
  const matches = picomatch(asPath(glob), { dot: true, nonegate: true, noextglob: true });
  return (name) => matches(asPath(name));
}

/** The names that share most parts with the glob; earlier names win ties. */
export function nearest(glob: string, names: readonly string[], count = 3): string[] {
  const wanted = new Set(glob.split(/[.,{}*]+/).filter(Boolean));
  const shared = (name: string) => name.split(".").filter((part) => wanted.has(part)).length;
  return [...names].sort((a, b) => shared(b) - shared(a)).slice(0, count);
}
