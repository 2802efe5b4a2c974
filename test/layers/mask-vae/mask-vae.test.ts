import { strict as assert } from "node:assert";
import { readFileSync } from "node:fs";
import path from "node:path";

import * as tf from "@tensorflow/tfjs";

import { MaskVae, type MaskVaeConfig } from "../../../layers/mask-vae/mask-vae.js";
import type { Tap } from "../../../layers/tap.js";
import { scopeOf } from "../../../src/masks/weights.js";
import { buildPart } from "../../../src/model/section.js";
import { compare } from "../../parity/compare.js";
import { fixtures, readTensors, type ReferenceTensor } from "../../parity/reference.js";
import { leakFree, onEachBackend } from "../../support/backends.js";

const folder = path.join(fixtures, "vqvae");
const { config: widths } = JSON.parse(readFileSync(path.join(folder, "about.json"), "utf8")) as {
  config: Omit<MaskVaeConfig, "codes">;
};

onEachBackend("the autoencoder of masks", () => {
  let vae: MaskVae;
  let expected: Map<string, ReferenceTensor>;
  before(async () => {
    expected = await readTensors(path.join(folder, "expected.safetensors"));
    const weights = await readTensors(path.join(folder, "weights.safetensors"));
    const tensors = new Map(
      [...weights].map(([name, { shape, values }]) => [name, { shape, values: values as Float32Array }]),
    );
    vae = new MaskVae({ config: { codes: 128, ...widths }, scope: scopeOf(tensors) });
    buildPart({ path: "", layer: vae, inputShapes: [[null, 16]] });
    // The native backend takes a weight's bytes over at its first use.
    tf.tidy(() => vae.encode(vae.apply(given("codes", "int32")) as tf.Tensor));
  });
  after(() => vae.dispose());

  const given = (name: string, dtype: "int32" | "float32") =>
    tf.tensor(expected.get(name)!.values, [...expected.get(name)!.shape], dtype);

  /** Compares what a run shows with PyTorch, in the order of computation, and returns the names. */
  function compared(run: (tap: Tap) => void): string[] {
    const names: string[] = [];
    run((name, value) => {
      const { shape, values } = expected.get(name)!;
      names.push(name);
      const count = values.length / shape[0];
      assert.deepEqual(value.shape.slice(1), shape.slice(1), name);
      const rows = value.dataSync().slice(0, count * shape[0]);
      const { scaled } = compare(rows, values);
      assert.ok(scaled < 1e-5, `${name} is ${scaled} off`);
      return value;
    });
    return names;
  }

  leakFree("decodes as PyTorch does, step by step", () => {
    const names = compared((tap) => tf.tidy(() => void vae.apply(given("codes", "int32"), { tap })));
    const places = [0, 2, 3, 4, 6, 8, 10, 12].map((place) => `decoder.${place}`);
    assert.deepEqual(names, ["rows", ...places]);
  });

  leakFree("encodes as PyTorch does, step by step, to the same codes, the lower one of equal rows", () => {
    tf.tidy(() => {
      const masks = given("masks", "float32").sub(0.5).mul(2);
      let codes: tf.Tensor;
      const names = compared((tap) => (codes = vae.encode(masks, tap)));
      assert.deepEqual(names, [0, 2, 4, 6, 8, 9, 10].map((place) => `encoder.${place}`)); // prettier-ignore
      assert.equal(codes!.dtype, "int32");
      assert.deepEqual([...codes!.dataSync()], [...expected.get("encoded.codes")!.values]);
    });
  });

  it("a batch decodes to what its masks decode to alone", () => {
    tf.tidy(() => {
      const codes = given("codes", "int32");
      const [both, second] = [vae.apply(codes), vae.apply(codes.slice([1, 0]))] as tf.Tensor[];
      const { scaled } = compare(second.dataSync(), both.slice([1, 0, 0, 0]).dataSync());
      assert.ok(scaled < 1e-6, String(scaled));
    });
  });
});
