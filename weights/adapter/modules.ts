import { EMBEDDING, LM_HEAD } from "../names.js";

/** What an adapter of a module looks like. */
export type ModuleKind = "linear" | "embedding" | "convolution";

/** A module that adapters can change. */
export interface AdaptableModule {
  /** Canonical path (names.ts). */
  readonly path: string;
  readonly kind: ModuleKind;
  /** Of its weight, as stored. */
  readonly shape: readonly number[];
  readonly hasBias: boolean;
}

const TABLE = /\.(embed_tokens|position_embedding)$/;

/** The canonical path of the output head. */
export const HEAD = LM_HEAD.replace(/\.weight$/, "");
/** The canonical path of the token embedding. */
export const TOKENS = EMBEDDING.replace(/\.weight$/, "");

/** Whether a model (canonical name -> shape) has one table for lookup and output head. */
export const isTied = (tensors: ReadonlyMap<string, unknown>): boolean => !tensors.has(LM_HEAD);

/**
 * The modules with a matrix, among a model's tensors (canonical name -> shape), and the output head, which may be the
 * token table.
 */
export function adaptableModules(tensors: ReadonlyMap<string, readonly number[]>): AdaptableModule[] {
  const modules: AdaptableModule[] = [];
  for (const [name, shape] of tensors) {
    if (!name.endsWith(".weight") || shape.length < 2) continue;
    const path = name.slice(0, -".weight".length);
    const kind = TABLE.test(path) ? "embedding" : shape.length > 2 ? "convolution" : "linear";
    modules.push({ path, kind, shape, hasBias: tensors.has(`${path}.bias`) });
  }
  const table = isTied(tensors) ? tensors.get(EMBEDDING) : undefined;
  return table ? [...modules, { path: HEAD, kind: "linear", shape: table, hasBias: false }] : modules;
}
