import type { ByteSource } from "./byte-source.js";

/** Bytes that tell a kind. */
const STARTS = 32;

/** Kinds of files by how they begin (Latin-1), for messages about a file that is not what its name says. */
const KINDS: readonly (readonly [begins: string, kind: string])[] = [
  ["version https://git-lfs", "a Git LFS pointer; run `git lfs pull`, or download the file itself"],
  ["GGUF", "a GGUF file of llama.cpp, which is not read; take the safetensors that it was made from"],
  ["PK\x03\x04", "a zip archive, such as a PyTorch .bin, .pt or .npz; an archive of big_vision must end in .npz"],
  ["\x80\x02", "a Python pickle, which could run any program while it is read; save it as safetensors"],
  ["\x80\x04", "a Python pickle, which could run any program while it is read; save it as safetensors"],
  ["\x89HDF\r\n", "an HDF5 file; a preset of keras-hub must end in .weights.h5"],
  ["\x93NUMPY", "one NumPy array"],
  ["\x1f\x8b", "a gzip archive; unpack it first"],
  ["<!DOCTYPE", "a page of HTML; a download answered with a page, often a login or an error"],
  ["<!doctype", "a page of HTML; a download answered with a page, often a login or an error"],
  ["<html", "a page of HTML; a download answered with a page, often a login or an error"],
  ["<?xml", "XML; a download answered with an error"],
  ["{", "JSON, perhaps an error that a download answered with"],
];

/** What a file is by its first bytes, with what to do; null for none of the known kinds. */
export function kindOfStart(start: Uint8Array): string | null {
  const text = Buffer.from(start.subarray(0, STARTS)).toString("latin1");
  const known = KINDS.find(([begins]) => text.startsWith(begins))?.[1];
  if (known !== undefined) return known;
  const zeros = start.length >= 16 && start.every((byte) => byte === 0);
  return zeros ? "zeros, as a download leaves that was never filled" : null;
}

/** The same of a source, of which the first 32 bytes are read. */
export const kindOf = async (source: ByteSource): Promise<string | null> =>
  kindOfStart(await source.read(0, Math.min(source.size, STARTS)));
