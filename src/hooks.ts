import * as tf from "@tensorflow/tfjs";
import picomatch from "picomatch";

import type { Tap } from "../layers/tap.js";
import { InputError } from "./errors.js";

/**
 * Which activations are wanted: a glob, several, or a predicate over names. `*` matches within one dotted part, `**` any
 * number of parts, `{a,b}` alternatives: `language.blocks.*.attn.hook_pattern`, `vision.**`.
 */
export type HookFilter = string | readonly string[] | ((name: string) => boolean);

/** The names that the filter selects, in catalogue order. Throws `InputError` for a glob that matches nothing. */
export function selectHooks(filter: HookFilter, names: readonly string[]): string[] {
  if (typeof filter === "function") return names.filter(filter);
  const globs = typeof filter === "string" ? [filter] : filter;
  if (globs.length === 0) throw new InputError("hooks: expected at least one glob, received none");
  const chosen = new Set<string>();
  for (const glob of globs) {
    const matching = names.filter(globMatcher(glob));
    if (matching.length === 0) {
      const near = nearest(glob, names).join(", ");
      throw new InputError(
        `hooks: "${glob}" matches no activation; near it are ${near} (the command \`hooks\` lists all)`,
      );
    }
    for (const name of matching) chosen.add(name);
  }
  return names.filter((name) => chosen.has(name));
}

// Dotted names become paths, so that a well-known glob engine sees the parts.
function globMatcher(glob: string): (name: string) => boolean {
  const asPath = (text: string) => text.replaceAll(".", "/");
  const matches = picomatch(asPath(glob), { dot: true, nonegate: true, noextglob: true });
  return (name) => matches(asPath(name));
}

// The names that share most parts with the glob; earlier names win ties.
function nearest(glob: string, names: readonly string[], count = 3): string[] {
  const wanted = new Set(glob.split(/[.,{}*]+/).filter(Boolean));
  const shared = (name: string) => name.split(".").filter((part) => wanted.has(part)).length;
  return [...names].sort((a, b) => shared(b) - shared(a)).slice(0, count);
}

/** Activations of one run by name. It owns its tensors until `dispose`. */
export class ActivationCache {
  private readonly tensors = new Map<string, tf.Tensor>();

  /** The captured names, in the order in which they were computed. */
  get names(): string[] {
    return [...this.tensors.keys()];
  }

  /** The activation called `name`; it stays the cache's. Throws `InputError` when it was not captured. */
  get(name: string): tf.Tensor {
    const tensor = this.tensors.get(name);
    if (tensor === undefined) {
      throw new InputError(
        `activation cache: "${name}" was not captured; near it are ${nearest(name, this.names).join(", ")}`,
      );
    }
    return tensor;
  }

  /** Whether `name` was captured. */
  has(name: string): boolean {
    return this.tensors.has(name);
  }

  /** Every name with its tensor; they stay the cache's. */
  entries(): IterableIterator<[string, tf.Tensor]> {
    return this.tensors.entries();
  }

  /** A tap that keeps the wanted activations of one run and changes nothing. */
  capture(wanted: readonly string[]): Tap {
    const names = new Set(wanted);
    const keep: Tap = (name, value) => {
      if (names.has(name)) {
        this.tensors.get(name)?.dispose();
        this.tensors.set(name, tf.keep(value.clone()));
      }
      return value;
    };
    return Object.assign(keep, { wants: (name: string) => names.has(name) });
  }

  /** Frees every captured tensor. */
  dispose(): void {
    for (const tensor of this.tensors.values()) tensor.dispose();
    this.tensors.clear();
  }
}
