import * as tf from "@tensorflow/tfjs";

import { dense, heldDtype } from "../../../layers/stored.js";
import { Matrix } from "../../../layers/matrix.js";
import type { Weight } from "../../../layers/weight.js";
import { fromFloat32 } from "../../../weights/dtype.js";
import { EMBEDDING, LM_HEAD } from "../../../weights/names.js";
import type { PaliGemmaConfig } from "../../model/config.js";
import { isPackedForm, STORED } from "../../backends/dtypes.js";
import { InputError } from "../../base/errors.js";
import type { PaliGemmaModel } from "../../model/model.js";
import type { TensorToSave } from "./save-model.js";

/** Numbers that are read from the backend at once. */
const AT_ONCE = 2 ** 22;

/**
 * The weights that a network computes with, merged adapters included, in the type of its matrices (packed ones as
 * bfloat16); read from the backend some rows at a time. The output head is one of them where it is not the token table,
 * which a merged adapter may have made so: `config` says it. Throws `InputError` while adapters are active beside the
 * weights.
 */
export function networkTensors(network: PaliGemmaModel): { tensors: TensorToSave[]; config: PaliGemmaConfig } {
  const weights = new Map(network.weights());
  const adapted = [...weights].find(([, weight]) => weight instanceof Matrix && weight.adapted);
  if (adapted) {
    throw new InputError(
      `savePretrained: an adapter is active on ${adapted[0]}; merge it first (mergeAdapters), or set none`,
    );
  }
  const tieWordEmbeddings = weights.get(LM_HEAD)!.read() === weights.get(EMBEDDING)!.read();
  if (tieWordEmbeddings) weights.delete(LM_HEAD);
  const dtype = isPackedForm(network.dtype) ? "BF16" : STORED[network.dtype];
  const tensors = [...weights].map(([name, weight]) => {
    const { shape } = weight.read();
    const bytes = (values: Float32Array): Uint8Array => fromFloat32(values, dtype);
    async function* pieces(): AsyncGenerator<Uint8Array> {
      for await (const values of numbersOf(weight, () => network.activate())) {
        network.ready(); // what was read is what was loaded
        yield bytes(values);
      }
    }
    return { name, dtype, shape, pieces };
  });
  return { tensors, config: { ...network.config, text: { ...network.config.text, tieWordEmbeddings } } };
}

/**
 * A weight's numbers in order. `activate` is called before each computation: others may have chosen another backend.
 */
async function* numbersOf(weight: Weight, activate: () => void): AsyncGenerator<Float32Array> {
  activate();
  const stored = weight.read();
  const [rows, width] = stored.rank < 2 ? [1, stored.size] : [stored.shape[0], stored.size / stored.shape[0]];
  if (!(weight instanceof Matrix)) {
    yield await taken(() => dense(stored).clone());
    return;
  }
  const most = Math.max(1, Math.floor(AT_ONCE / width));
  for (let at = 0; at < rows; at += most) {
    activate();
    const end = Math.min(at + most, rows);
    yield await taken(() =>
      heldDtype(stored) === null
        ? stored.reshape([rows, width]).slice([at, 0], [end - at, width])
        : weight.rows(tf.range(at, end, 1, "int32")),
    );
  }
}

async function taken(make: () => tf.Tensor): Promise<Float32Array> {
  const tensor = tf.tidy(() => tf.keep(make()));
  try {
    return await tensor.data<"float32">();
  } finally {
    tensor.dispose();
  }
}
