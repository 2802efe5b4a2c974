import type * as tf from "@tensorflow/tfjs";

import { type PaliGemmaConfig, numImageTokens } from "./config.js";
import { InputError } from "../base/errors.js";
import { anything, checkOptions, described, type OptionKinds } from "../base/options.js";
import { requireTensor } from "../base/tensors.js";

type Rows = readonly (readonly number[])[];

/** What the network takes: pictures as pixels, and rows of token ids of one length. */
export type ModelInputs = {
  /** Pixels [I, S, S, 3] in [-1, 1] of all pictures of the batch in reading order, or null without pictures. */
  pixelValues: tf.Tensor | null;
  /**
   * Rows [I, P, D] of the pictures as `encodeImages` gives them, in place of pixels: the vision tower then does not
   * run.
   */
  imageRows?: tf.Tensor | null | undefined;
  /** Token ids [B, T]; each picture stands as P image tokens. */
  inputIds: Rows;
  /** 1 for real tokens, 0 for pads. Default: all real. */
  attentionMask?: Rows | undefined;
  /** 0 in the open block (and for pads), 1 behind it. Default: all in the block. */
  tokenTypeIds?: Rows | undefined;
  /** Rotary positions. Default: real tokens counted from the first. */
  positionIds?: Rows | undefined;
};

/**
 * Of each; `completeInputs` checks them further. What `Processor.process` gives besides may stand there too, and is not
 * read.
 */
const INPUT_KINDS: OptionKinds<ModelInputs> & Readonly<Record<string, typeof anything>> = {
  pixelValues: anything,
  imageRows: anything,
  inputIds: anything,
  attentionMask: anything,
  tokenTypeIds: anything,
  positionIds: anything,
  labels: anything,
  pixelShape: anything,
  pixelBytes: anything,
  imageSizes: anything,
  dispose: anything,
};

/** Ready inputs as a caller hands them over. Throws `InputError` that names an unknown field. */
export const checkedInputs = (inputs: ModelInputs): ModelInputs => checkOptions("inputs", inputs, INPUT_KINDS);

/** Inputs with every default filled in. */
export type CompleteInputs = { [Name in keyof Required<ModelInputs>]: Exclude<ModelInputs[Name], undefined> };

/**
 * Fills in the defaults and checks that everything fits together. `cached` positions came before, of each row `seen`
 * real ones. Throws `InputError` for ragged rows, ids outside the vocabulary, wrong pixels, inconsistent types, image
 * tokens that do not fit the pictures, more rows than were cached, or more positions than the model's context.
 */
export function completeInputs(
  config: PaliGemmaConfig,
  inputs: ModelInputs,
  positionOffset: number,
  { seen = [], cached = 0 }: { seen?: readonly number[] | undefined; cached?: number | undefined } = {},
): CompleteInputs {
  const { inputIds, pixelValues = null, imageRows = null } = inputs;
  requireRows({ ...inputs, inputIds: inputIds ?? null });
  if (inputIds.length === 0 || inputIds[0]!.length === 0) throw new InputError("inputIds: expected at least one token");
  if (seen.length > 0 && seen.length !== inputIds.length) {
    throw new InputError(`inputIds: expected ${seen.length} rows, as in the state, received ${inputIds.length}`);
  }
  const { attentionMask, tokenTypeIds } = layoutOf(inputs);
  const positionIds = inputs.positionIds ?? countedPositions(attentionMask, positionOffset, seen);
  sameShape({ inputIds, attentionMask, tokenTypeIds, positionIds });
  // Behind the prompt the model itself may choose the image token: a row of the table like any other, as in
  // transformers.
  const marked = cached === 0 || pixelValues !== null || imageRows !== null;
  for (const id of inputIds.flat()) {
    if (marked && id === config.imageTokenId) continue; // it may lie behind the vocabulary
    if (!Number.isSafeInteger(id) || id < 0 || id >= config.text.vocabSize) {
      throw new InputError(`inputIds: expected ids in [0, ${config.text.vocabSize}), received ${described(id)}`);
    }
  }
  tokenTypeIds.forEach(checkTypes);
  attentionMask.forEach((row) => requireEach("attentionMask", row, isBit, "0 or 1"));
  positionIds.forEach((row) => requireEach("positionIds", row, isPosition, "whole numbers >= 0"));
  if (marked) checkPictures(config, inputs);
  checkContext(config, inputIds[0]!.length, cached);
  return { pixelValues, imageRows, inputIds, attentionMask, tokenTypeIds, positionIds };
}

/** Which positions are real and which lie in the open block, with the defaults of `ModelInputs` filled in. */
export function layoutOf(inputs: ModelInputs): { attentionMask: Rows; tokenTypeIds: Rows } {
  const filled = (value: number) => inputs.inputIds.map((row) => row.map(() => value));
  return { attentionMask: inputs.attentionMask ?? filled(1), tokenTypeIds: inputs.tokenTypeIds ?? filled(0) };
}

function requireRows({ inputIds, attentionMask, tokenTypeIds, positionIds }: Record<string, unknown>): void {
  for (const [name, rows] of Object.entries({ inputIds, attentionMask, tokenTypeIds, positionIds })) {
    if (rows === undefined || (Array.isArray(rows) && rows.every((row) => Array.isArray(row)))) continue;
    throw new InputError(`${name}: expected rows of numbers [[...], ...], received ${described(rows)}`);
  }
}

// Pads share the first position; transformers gives them one as well, and their rows are never used.
function countedPositions(attentionMask: Rows, offset: number, seen: readonly number[]): number[][] {
  return attentionMask.map((row, b) => {
    let count = seen[b] ?? 0;
    return row.map((real) => Math.max((count += real) - 1, 0) + offset);
  });
}

function sameShape(named: Record<string, Rows>): void {
  const [B, T] = [named.inputIds!.length, named.inputIds![0]!.length];
  for (const [name, rows] of Object.entries(named)) {
    const wrong = rows.length !== B ? rows.length : rows.find((row) => row.length !== T)?.length;
    if (wrong !== undefined) throw new InputError(`${name}: expected ${B} rows of ${T}, received one of ${wrong}`);
  }
}

const isBit = (value: unknown): boolean => value === 0 || value === 1;
const isPosition = (value: unknown): boolean => Number.isSafeInteger(value) && (value as number) >= 0;

function requireEach(what: string, row: readonly number[], fits: (value: unknown) => boolean, expected: string): void {
  const wrong = row.findIndex((value) => !fits(value));
  if (wrong >= 0) throw new InputError(`${what}: expected ${expected}, received ${described(row[wrong])}`);
}

function checkTypes(row: readonly number[], index: number): void {
  const consistent = row.every((type, i) => (type === 0 || type === 1) && (i === 0 || type >= row[i - 1]!));
  if (!consistent) {
    throw new InputError(
      `tokenTypeIds: expected row ${index} to be 0 (image and prompt) and then 1 (what follows), received ${row.join("")}`,
    );
  }
}

function checkContext(config: PaliGemmaConfig, added: number, cached: number): void {
  const context = config.text.maxPositionEmbeddings;
  if (cached + added > context) {
    throw new InputError(
      `prompt: expected at most ${context} tokens (image tokens included), the model's context; received ${cached + added}`,
    );
  }
}

function checkPictures(config: PaliGemmaConfig, { inputIds, pixelValues = null, imageRows = null }: ModelInputs): void {
  const { imageSize, numChannels } = config.vision;
  if (pixelValues && imageRows) throw new InputError("inputs: expected pixelValues or imageRows, received both");
  requirePictures("pixelValues", pixelValues, [imageSize, imageSize, numChannels]);
  requirePictures("imageRows", imageRows, [numImageTokens(config), config.text.hiddenSize]);
  const pictures = (pixelValues ?? imageRows)?.shape[0] ?? 0;
  const marks = inputIds.flat().filter((id) => id === config.imageTokenId).length;
  const perPicture = numImageTokens(config);
  if (marks !== pictures * perPicture) {
    const fit = `${pictures} pictures x ${perPicture} = ${pictures * perPicture}`;
    throw new InputError(`inputIds: expected ${fit} image tokens, received ${marks}`);
  }
}

function requirePictures(name: string, tensor: tf.Tensor | null, each: number[]): void {
  if (tensor === null) return;
  requireTensor(name, tensor);
  const { shape } = tensor;
  if (shape.length !== each.length + 1 || each.some((size, axis) => size !== shape[axis + 1])) {
    throw new InputError(`${name}: expected [pictures, ${each.join(", ")}], received [${shape.join(", ")}]`);
  }
}
