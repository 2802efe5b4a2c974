import { readdir } from "node:fs/promises";
import path from "node:path";

import { reasonOf } from "../../weights/bytes.js";
import { toInt32 } from "../../weights/dtype.js";
import { WeightsError } from "../../weights/errors.js";
import { readHeader } from "../../weights/safetensors.js";
import { openFile } from "../../weights/source.js";
import { inOrderOfComputation } from "../hooks/hook-order.js";
import {
  blockOf,
  canonicalModule,
  hooksOfModule,
  type HookOfModule,
  type ModuleContext,
  type ModuleTensor,
  POST_NORM_MODULE,
} from "../inspection/module-names.js";
import { type StoredRun, type StoredTensor, toNumbers } from "../inspection/stored-run.js";

/** A file of the dump, and which tensor it holds. */
type DumpFile = ModuleTensor & { file: string };

/**
 * Reads a folder that transformers' `model_addition_debugger_context(model, folder, use_repr=False)` wrote: a
 * safetensors file for each input of a module and each output of one without children, named after its path, with the
 * key `data`. Modules that are hooks of ours come under the hooks' names; `notes` says where they are not quite ours.
 * Queries, keys, values and z keep their heads flat until `withHeadsOf`. Throws `WeightsError` for a folder without
 * such files, or with damaged ones. Source: transformers 5.18 `model_debugging_utils.py`, `_attach_debugger_logic` and
 * `_serialize_tensor_like_io`.
 */
export async function readModuleDump(folder: string): Promise<StoredRun> {
  const names = await readdir(folder).catch((error: unknown) => {
    throw new WeightsError(`${folder}: cannot be read (${reasonOf(error)})`);
  });
  const files = names.sort().flatMap(dumpFile);
  if (files.length === 0) throw new WeightsError(`${folder}: ${nothingIn(names)}`);
  const context = contextOf(files);
  const found = new Map<string, StoredTensor>();
  const [notes, hedged]: [string[], HookOfModule[]] = [[], []];
  const rows = await textRows(folder, names, files);
  for (const { file, ...tensor } of files) {
    for (const hook of hooksOfModule(tensor, context)) {
      const read = await readData(path.join(folder, file));
      const ours = inOurLayout(read, hook, rows);
      if (ours) found.set(hook.hook, ours);
      else notes.push(`${hook.hook}: left out, since the dump does not tell which of its rows are text`);
      if (ours && hook.note) hedged.push(hook);
    }
  }
  const doubtful = hedged.filter(({ hook }) => !entersAsItIs(found.get(hook)!, found, rows));
  notes.push(...doubtful.map(({ hook, note }) => `${hook}: ${note}`));
  const tensors = new Map(inOrderOfComputation(found.keys()).map((name) => [name, found.get(name)!]));
  return { tensors, metadata: { layout: "module dump of transformers" }, notes };
}

/**
 * PaliGemmaForConditionalGeneration.model.language_model.norm_inputs_args_0.safetensors, the class being no part of the
 * path.
 */
function dumpFile(file: string): DumpFile[] {
  const match = /^\w+?\.(.+)_(inputs_args_0|inputs_kwargs_hidden_states|outputs)\.safetensors$/.exec(file);
  return match ? [{ file, module: match[1], side: match[2] === "outputs" ? "output" : "input" }] : [];
}

function nothingIn(names: readonly string[]): string {
  if (names.some((name) => name.endsWith("_debug_tree_FULL_TENSORS.json"))) {
    return "this dump of transformers holds tensors as text; make it with use_repr=False";
  }
  return "expected a dump of transformers' model_addition_debugger_context, found no file such as CLASS.MODULE_outputs.safetensors";
}

function contextOf(files: readonly DumpFile[]): ModuleContext {
  const blocks = { vision: 0, language: 0 };
  let postNorms = false;
  for (const { module } of files) {
    const found = blockOf(canonicalModule(module));
    if (found === null) continue;
    blocks[found.tower] = Math.max(blocks[found.tower], found.block + 1);
    postNorms ||= found.inner === POST_NORM_MODULE;
  }
  return { postNorms, blocks };
}

async function readOne<T>(file: string, read: (bytes: Uint8Array, dtype: StoredDType, shape: readonly number[]) => T) {
  const source = await openFile(file);
  try {
    const entry = (await readHeader(source)).tensors.get("data");
    if (entry === undefined) throw new WeightsError(`${file}: expected a tensor "data", as in a dump of transformers`);
    return read(await source.read(entry.start, entry.end), entry.dtype, entry.shape);
  } finally {
    await source.close();
  }
}

type StoredDType = Parameters<typeof toNumbers>[1];

const readData = (file: string): Promise<StoredTensor> =>
  readOne(file, (bytes, dtype, shape) => ({ shape, data: toNumbers(bytes, dtype, `${file}: tensor "data"`) }));

/** For each position of the batch whether it holds text; null where the dump does not tell. */
async function textRows(
  folder: string,
  names: readonly string[],
  files: readonly DumpFile[],
): Promise<boolean[] | null> {
  const ids = names.find((name) => name.endsWith("_inputs_kwargs_input_ids.safetensors"));
  const projector = files.find(
    ({ module, side }) => side === "output" && canonicalModule(module) === "multi_modal_projector.linear",
  );
  if (ids === undefined || projector === undefined) return null;
  const tokens = await readOne(path.join(folder, ids), (bytes, dtype) => [...toInt32(bytes, dtype)]);
  const [images, patches] = (await readData(path.join(folder, projector.file))).shape;
  // The placeholder's id is not in the dump. It is the one that comes as often as there are image rows.
  const counts = new Map<number, number>();
  for (const id of tokens) counts.set(id, (counts.get(id) ?? 0) + 1);
  const candidates = [...counts].filter(([, count]) => count === images * patches);
  return candidates.length === 1 ? tokens.map((id) => id !== candidates[0][0]) : null;
}

function inOurLayout(tensor: StoredTensor, { layout }: HookOfModule, rows: boolean[] | null): StoredTensor | null {
  if (layout === "channels first") return patchesFirst(tensor);
  return layout === "all rows" ? textOnly(tensor, rows) : tensor;
}

/** [I, D, rows, columns] -> [I, P, D]. */
function patchesFirst({ shape, data }: StoredTensor): StoredTensor {
  const [I, D, ...grid] = shape;
  const P = grid.reduce((product, side) => product * side, 1);
  const out = new Float32Array(data.length);
  for (let i = 0; i < I; i++) {
    for (let d = 0; d < D; d++) {
      for (let p = 0; p < P; p++) out[(i * P + p) * D + d] = data[(i * D + d) * P + p];
    }
  }
  return { shape: [I, P, D], data: out };
}

/** [B, T, D] -> [B, T_text, D], or [1, all text, D] where the rows of the batch have unequal numbers of it. */
function textOnly({ shape, data }: StoredTensor, isText: boolean[] | null): StoredTensor | null {
  const [B, T, D] = shape;
  if (isText === null || isText.length !== B * T) return null;
  const kept = isText.flatMap((text, row) => (text ? [...data.subarray(row * D, (row + 1) * D)] : []));
  const perRow = Array.from({ length: B }, (_, b) => isText.slice(b * T, (b + 1) * T).filter(Boolean).length);
  const even = perRow.every((count) => count === perRow[0]);
  return { shape: even ? [B, perRow[0], D] : [1, kept.length / D, D], data: Float32Array.from(kept) };
}

/** Whether embeddings are the text rows of what the first block is given, hence scaled as ours are. */
function entersAsItIs(
  embeddings: StoredTensor,
  found: ReadonlyMap<string, StoredTensor>,
  rows: boolean[] | null,
): boolean {
  const entry = found.get("language.blocks.0.hook_resid_pre");
  const text = entry ? textOnly(entry, rows) : null;
  return text !== null && text.data.every((value, i) => value === embeddings.data[i]);
}

const FLAT = /\.attn\.hook_[qkvz]$/;

/**
 * The tensors with heads of their own where they lie flat: [B, T, N·H] takes the shape [B, T, N, H] that `like` has
 * under the same name. The numbers are the same ones in the same order.
 */
export function withHeadsOf(
  tensors: ReadonlyMap<string, StoredTensor>,
  like: ReadonlyMap<string, StoredTensor>,
): Map<string, StoredTensor> {
  const fitting = (name: string, { shape, data }: StoredTensor): StoredTensor => {
    const heads = like.get(name)?.shape ?? [];
    const flat = [...heads.slice(0, 2), (heads[2] ?? 0) * (heads[3] ?? 0)];
    return FLAT.test(name) && heads.length === 4 && shape.join() === flat.join()
      ? { shape: heads, data }
      : { shape, data };
  };
  return new Map([...tensors].map(([name, tensor]) => [name, fitting(name, tensor)]));
}
