import { allocate } from "./bytes.js";
import { type CheckpointEntry, isPlaced, type PlacedEntry, sizeOfEntry } from "./checkpoint-entry.js";
import type { ByteSource } from "./byte-source.js";

/**
 * Bytes read at once: neighbours are joined up to it and a larger tensor is read in pieces of it, with progress
 * between.
 */
export const CHUNK = 16 * 2 ** 20;

type Sources = ReadonlyMap<string, ByteSource>;
type Heard = (bytes: number) => void;

/** Reads tensors into `staged`, each in an array of its own; neighbours in one file are read together. */
export async function readTensors(
  entries: [name: string, CheckpointEntry][],
  sources: Sources,
  staged: Map<string, Uint8Array>,
  onBytes: Heard,
): Promise<void> {
  const placed: [string, PlacedEntry][] = [];
  for (const [name, entry] of entries) {
    if (isPlaced(entry)) placed.push([name, entry]);
    else staged.set(name, await entry.read(onBytes));
  }
  for (const group of joined(placed)) await readGroup(group, sources, staged, onBytes);
}

async function readGroup(
  group: [string, PlacedEntry][],
  sources: Sources,
  staged: Map<string, Uint8Array>,
  onBytes: Heard,
): Promise<void> {
  const [[first, { file, start }]] = group;
  const { end } = group.at(-1)![1];
  const source = sources.get(file)!;
  if (end - start > CHUNK) {
    const bytes = allocate(`${source.name}: tensor ${first}`, end - start);
    for (let at = start; at < end; at += CHUNK) {
      const piece = await source.read(at, Math.min(at + CHUNK, end));
      bytes.set(piece, at - start);
      onBytes(piece.length);
    }
    staged.set(first, bytes);
    return;
  }
  const bytes = await source.read(start, end);
  // Copies: a view would keep the whole piece alive until the last of its tensors is handed out.
  for (const [name, entry] of group) staged.set(name, bytes.slice(entry.start - start, entry.end - start));
  onBytes(bytes.length);
}

/** Tensors in the order of their files, those that lie side by side joined up to `CHUNK`. */
function joined(entries: [string, PlacedEntry][]): [string, PlacedEntry][][] {
  const groups: [string, PlacedEntry][][] = [];
  const order = (a: string, b: string): number => (a === b ? 0 : a < b ? -1 : 1);
  for (const item of entries.sort(([, a], [, b]) => order(a.file, b.file) || a.start - b.start || a.end - b.end)) {
    const [, { file, start, end }] = item;
    const group = groups.at(-1);
    const touches = group?.at(-1)![1].file === file && group.at(-1)![1].end === start;
    if (group && touches && end - group[0][1].start <= CHUNK) group.push(item);
    else groups.push([item]);
  }
  return groups;
}

/** Whether two tensors of one type and shape have the same bytes; read piece by piece. */
export async function sameBytes(a: CheckpointEntry, b: CheckpointEntry, sources: Sources): Promise<boolean> {
  const size = sizeOfEntry(a);
  const [readA, readB] = [await piecesOf(a, sources), await piecesOf(b, sources)];
  for (let at = 0; at < size; at += CHUNK) {
    const end = Math.min(at + CHUNK, size);
    if (Buffer.compare(await readA(at, end), await readB(at, end)) !== 0) return false;
  }
  return true;
}

async function piecesOf(
  entry: CheckpointEntry,
  sources: Sources,
): Promise<(start: number, end: number) => Uint8Array | Promise<Uint8Array>> {
  if (isPlaced(entry)) return (start, end) => sources.get(entry.file)!.read(entry.start + start, entry.start + end);
  const bytes = await entry.read(() => {});
  return (start, end) => bytes.subarray(start, end);
}

/** A tensor's bytes in order: those of a placed one piece by piece, those of a composed one at once. */
export async function* piecesInOrder(entry: CheckpointEntry, sources: Sources): AsyncGenerator<Uint8Array> {
  if (!isPlaced(entry)) return yield await entry.read(() => {});
  const source = sources.get(entry.file)!;
  for (let at = entry.start; at < entry.end; at += CHUNK) yield source.read(at, Math.min(at + CHUNK, entry.end));
}
