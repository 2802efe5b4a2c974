import * as tf from "@tensorflow/tfjs";

import type { WeightScope } from "../../layers/checkpoint-layer.js";
import type { MaskVaeConfig } from "../../layers/mask-vae/mask-vae.js";
import { type DType, isFloat, toFloat32 } from "../../weights/dtype.js";
import { WeightsError } from "../../weights/errors.js";
import { openNpz } from "../../weights/npz.js";
import { readHeader } from "../../weights/safetensors.js";
import type { ByteSource } from "../../weights/byte-source.js";
import { CODEBOOK } from "../grammar/parse-objects.js";

/** The tensors of an autoencoder of masks, by their names in the file, and its sizes. */
export type MaskWeights = {
  config: MaskVaeConfig;
  tensors: ReadonlyMap<string, { shape: readonly number[]; values: Float32Array }>;
};

/** What a file offers: its names, and each tensor's bytes when it is asked for. */
type Contents = {
  names: readonly string[];
  read: (name: string) => Promise<{ dtype: DType; shape: readonly number[]; data: Uint8Array }>;
};

/**
 * Running sums that training keeps beside the codebook. Source: SwinTransformer/AiT, vae/models/VQVAE.py,
 * `VectorQuantizerEMA`.
 */
const TRAINING_STATE = ["_vq_vae._ema_cluster_size", "_vq_vae._ema_w"];
const EMBEDDING = "_vq_vae._embedding";

/** Most bytes that a compressed file becomes: the published one has 5 MB. */
const MAX_INFLATED = 2 ** 28;
const HALVING = [0, 2, 4, 6].map((place) => `encoder.${place}`);
const DOUBLING = [4, 6, 8, 10].map((place) => `decoder.${place}`);

/**
 * Reads big_vision's `vae-oid.npz`, or the same names in a safetensors file: F32, F16 or bfloat16 (two bytes without a
 * meaning in a .npz). Widths are the file's. The training state of the codebook is passed over. Throws one
 * `WeightsError` that lists what is missing, unexpected or of another shape, and as the readers of these files do. The
 * source stays the caller's.
 */
export async function readMaskWeights(source: ByteSource): Promise<MaskWeights> {
  const contents = await contentsOf(source);
  const names = contents.names.filter((name) => !TRAINING_STATE.includes(name));
  const wanted = [...maskTensors(configOf(() => [])).keys()];
  refuse(source.name, [
    ["missing", wanted.filter((name) => !names.includes(name))],
    ["unexpected", names.filter((name) => !wanted.includes(name))],
  ]);
  const tensors = new Map<string, { shape: readonly number[]; values: Float32Array }>();
  for (const name of names) {
    const { dtype, shape, data } = await contents.read(name);
    if (!isFloat(dtype)) refuse(source.name, [["of a type that is not read", [`${name} is ${dtype}`]]]);
    tensors.set(name, { shape, values: toFloat32(data, dtype) });
  }
  const config = configOf((name) => tensors.get(name)!.shape);
  const misshapen = [...maskTensors(config)]
    .map(([name, shape]) => ({ name, shape, found: tensors.get(name)!.shape }))
    .filter(({ shape, found }) => found.join() !== shape.join() || found.includes(0))
    .map(({ name, shape, found }) => `${name} is [${found.join(", ")}], expected [${shape.join(", ")}]`);
  refuse(source.name, [["misshapen", misshapen]]);
  return { config, tensors };
}

async function contentsOf(source: ByteSource): Promise<Contents> {
  if (source.name.endsWith(".npz")) {
    const { names, read } = await openNpz(source, { void2: "BF16", maxInflated: MAX_INFLATED });
    return { names, read };
  }
  if (!source.name.endsWith(".safetensors")) {
    throw new WeightsError(`${source.name}: expected weights of masks in a .npz or .safetensors file`);
  }
  const { tensors } = await readHeader(source);
  const read: Contents["read"] = async (name) => {
    const { dtype, shape, start, end } = tensors.get(name)!;
    return { dtype, shape, data: await source.read(start, end) };
  };
  return { names: [...tensors.keys()], read };
}

/** The sizes that a file's own shapes state; 0 where a shape has fewer axes. */
function configOf(shapeOf: (name: string) => readonly number[]): MaskVaeConfig {
  const axis = (name: string, at: number) => shapeOf(name)[at] ?? 0;
  return {
    codes: CODEBOOK,
    codebookWidth: axis(EMBEDDING, 1),
    encoderWidths: HALVING.map((name) => axis(`${name}.weight`, 0)),
    // The kernel of a transposed convolution is stored with its output's channels second.
    decoderWidths: [axis("decoder.0.weight", 0), ...DOUBLING.map((name) => axis(`${name}.weight`, 1))],
  };
}

/** Name -> shape of every tensor of an autoencoder of these sizes. */
export function maskTensors(config: MaskVaeConfig): Map<string, number[]> {
  const { codes, codebookWidth: C, encoderWidths, decoderWidths } = config;
  const shapes = new Map([[EMBEDDING, [codes, C]]]);
  const add = (name: string, kernel: number[], out: number) =>
    shapes.set(`${name}.weight`, kernel).set(`${name}.bias`, [out]);
  const convolution = (name: string, from: number, to: number, k: number) => add(name, [to, from, k, k], to);
  const residual = (name: string, width: number) =>
    ([["net.0", 3], ["net.2", 3], ["net.4", 1]] as const).forEach(([part, k]) => convolution(`${name}.${part}`, width, width, k)); // prettier-ignore
  const [first, narrow] = [decoderWidths[0], encoderWidths.at(-1)!];
  HALVING.forEach((name, i) => convolution(name, i === 0 ? 1 : encoderWidths[i - 1], encoderWidths[i], 4));
  for (const name of ["encoder.8", "encoder.9"]) residual(name, narrow);
  convolution("encoder.10", narrow, C, 1);
  convolution("decoder.0", C, first, 1);
  for (const name of ["decoder.2", "decoder.3"]) residual(name, first);
  DOUBLING.forEach((name, i) => add(name, [decoderWidths[i], decoderWidths[i + 1], 4, 4], decoderWidths[i + 1]));
  convolution("decoder.12", decoderWidths.at(-1)!, 1, 1);
  return shapes;
}

function refuse(where: string, faults: [kind: string, names: string[]][]): void {
  const lists = faults
    .filter(([, names]) => names.length > 0)
    .map(
      ([kind, names]) =>
        `${kind} (${names.length}): ${names.slice(0, 12).join(", ")}${names.length > 12 ? ", ..." : ""}`,
    );
  if (lists.length === 0) return;
  throw new WeightsError(
    `${where}: these are no weights of PaliGemma's masks; ${lists.join("; ")}. Fetch vae-oid.npz again.`,
  );
}

/** The tensors as layers ask for them, below a prefix; each that is handed out is the layer's own. */
export function scopeOf(tensors: MaskWeights["tensors"], prefix = ""): WeightScope {
  const get = (name: string, shape: number[]): tf.Tensor => tf.tensor(tensors.get(prefix + name)!.values, shape);
  return { at: (path) => scopeOf(tensors, `${prefix}${path}.`), get, matrix: get };
}
