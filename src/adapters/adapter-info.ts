import type { AdapterTensor, ExpectedAdapter } from "../../weights/adapter/expected.js";

/** The parts of a model that adapters are counted by. */
export type ModelPart = "vision" | "projector" | "language";

/** Low-rank parts: in how many modules, and how many numbers. */
export type AdapterCount = { modules: number; parameters: number };

/** What is loaded of an adapter, and what of it is in use. */
export type AdapterInfo = AdapterCount & {
  name: string;
  /** The folder or address that it came from. */
  source: string;
  /** The factor that it is active with; null: it is not active. */
  weight: number | null;
  /** Whether it is folded into the weights. */
  merged: boolean;
  parts: Record<ModelPart, AdapterCount>;
  /** Tensors of the model that it replaces, and their numbers. */
  replaced: { tensors: number; parameters: number };
};

/** How many of what an adapter brings. */
export type AdapterCounts = Pick<AdapterInfo, "modules" | "parameters" | "parts" | "replaced">;

/** The part of the model that a tensor is in, by its canonical name. */
export function partOf(name: string): ModelPart {
  if (name.startsWith("vision_tower.")) return "vision";
  return name.startsWith("multi_modal_projector.") ? "projector" : "language";
}

/** Counts what an adapter brings; nothing of it needs to be loaded. */
export function countAdapter({ targets, tensors }: ExpectedAdapter): AdapterCounts {
  const parts = { vision: none(), projector: none(), language: none() };
  for (const { path } of targets) parts[partOf(path)].modules++;
  const replaced = { tensors: 0, parameters: 0 };
  for (const tensor of tensors.values()) {
    if (tensor.role === "whole") {
      replaced.tensors++;
      replaced.parameters += sizeOf(tensor);
    } else if (tensor.role !== "base") parts[partOf(tensor.weight)].parameters += sizeOf(tensor);
  }
  const all = Object.values(parts);
  const sum = (count: keyof AdapterCount) => all.reduce((total, part) => total + part[count], 0);
  return { modules: sum("modules"), parameters: sum("parameters"), parts, replaced };
}

const none = (): AdapterCount => ({ modules: 0, parameters: 0 });

const sizeOf = ({ shape }: AdapterTensor): number => shape.reduce((product, axis) => product * axis, 1);
