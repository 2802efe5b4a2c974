import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";

import { readHeader } from "../../weights/safetensors.js";
import { writeSafetensors } from "../../weights/write-safetensors.js";
import { memorySource } from "../../weights/source.js";
import type { TensorData } from "../../weights/tensor-data.js";
import { fixtures } from "../parity/reference.js";

/** The folder of an adapter that PEFT has written for a tiny model. */
export const adapterFolder = (model: string, name: string): string => path.join(fixtures, "adapters", model, name);

/** The runs that PEFT has made with a model's adapters: the factor of each, in order. */
export function adapterRuns(model: string): { hooks: string[]; runs: Record<string, Record<string, number>> } {
  return JSON.parse(readFileSync(path.join(fixtures, "adapters", model, "cases.json"), "utf8"));
}

/** What a copied adapter's files hold, to be changed. */
export type AdapterFiles = { config: Record<string, unknown>; tensors: Map<string, TensorData> };

/** Hands `use` a copy of an adapter with changes, and removes it afterwards. */
export async function withChangedAdapter<R>(
  folder: string,
  change: (files: AdapterFiles) => void,
  use: (folder: string) => Promise<R>,
): Promise<R> {
  const scratch = mkdtempSync(path.join(tmpdir(), "paligemma-adapter-"));
  const copy = path.join(scratch, "adapter");
  try {
    cpSync(folder, copy, { recursive: true });
    const [configFile, weightsFile] = ["adapter_config.json", "adapter_model.safetensors"].map((file) =>
      path.join(copy, file),
    );
    const files = { config: JSON.parse(readFileSync(configFile, "utf8")), tensors: await readAll(weightsFile) };
    change(files);
    writeFileSync(configFile, JSON.stringify(files.config));
    await writeSafetensors(weightsFile, files.tensors);
    return await use(copy);
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
}

async function readAll(file: string): Promise<Map<string, TensorData>> {
  const source = memorySource(file, await readFile(file));
  const tensors = new Map<string, TensorData>();
  for (const [name, { dtype, shape, start, end }] of (await readHeader(source)).tensors) {
    tensors.set(name, { dtype, shape, data: await source.read(start, end) });
  }
  return tensors;
}
