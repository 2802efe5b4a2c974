import assert from "node:assert/strict";
import { readFileSync } from "node:fs";

import * as tf from "@tensorflow/tfjs";

import type { RawImage } from "../../../../src/input/image/decode.js";
import { resizeAsBigVision, resizeBilinearAntialias } from "../../../../src/input/resize/resize-tensorflow.js";
import { bigVision, settingsWith } from "../../../../src/model/settings.js";
import { withKernels } from "../../../support/backends.js";

type Case = Record<"rgb" | "bilinear-antialias", string> & Record<"width" | "height" | "toWidth" | "toHeight", number>;

const cases = JSON.parse(
  readFileSync(new URL("../../../fixtures/processor/resize.json", import.meta.url), "utf8"),
) as Case[];
const bytes = (base64: string): Uint8Array => new Uint8Array(Buffer.from(base64, "base64"));
const imageOf = ({ rgb, width, height }: Case): RawImage => ({ data: bytes(rgb), width, height });
const grey = (values: number[], width: number): RawImage => ({
  data: Uint8Array.from(values.flatMap((value) => [value, value, value])),
  width,
  height: values.length / width,
});
/** The first channel. */
const greyOf = (values: ArrayLike<number>): number[] => Array.from(values).filter((_, i) => i % 3 === 0);

describe("resizeBilinearAntialias", () => {
  for (const test of cases) {
    const { width, height, toWidth, toHeight } = test;
    it(`${width}x${height} -> ${toWidth}x${toHeight} equals torch's antialiased bilinear to 1e-3 grey levels`, () => {
      const expected = new Float32Array(bytes(test["bilinear-antialias"]).buffer);
      const result = resizeBilinearAntialias(imageOf(test), toWidth, toHeight);
      assert.equal(result.length, expected.length);
      const worst = result.reduce((most, value, i) => Math.max(most, Math.abs(value - expected[i])), 0);
      assert.ok(worst <= 1e-3, `worst difference ${worst}`);
    });
  }

  // Values of TensorFlow 2.21, `tf.raw_ops.ScaleAndTranslate(..., kernel_type="triangle", antialias=True)`.
  it("rounds in float32 as TensorFlow does", () => {
    const image = grey([10, 200, 33, 90, 55, 255], 3);
    const square = [81.25000762939453, 95.62500762939453, 79.06250762939453, 137.81251525878906, 76.87500762939453];
    assert.deepEqual(greyOf(resizeBilinearAntialias(image, 2, 3)), [...square, 180.00001525878906]);
    assert.deepEqual(greyOf(resizeBilinearAntialias(image, 5, 1)), [50, 81, 127.5, 137.40000915527344, 144]);
  });
});

describe("resizeAsBigVision", () => {
  it("cuts to bytes and does not round: 127.5 and 137.4 become 127 and 137", () => {
    const image = grey([10, 200, 33, 90, 55, 255], 3);
    assert.deepEqual(greyOf(resizeAsBigVision(image, 5, 1).data), [50, 81, 127, 137, 144]);
    assert.deepEqual(greyOf(resizeAsBigVision(image, 2, 3).data), [81, 95, 79, 137, 76, 180]);
  });

  it("shows the last bit of TensorFlow's sums: of a flat picture some pixels are one level darker", () => {
    const { data } = resizeAsBigVision(grey(Array<number>(37 * 23).fill(100), 37), 5, 7);
    const darker = greyOf(data).flatMap((value, i) => (value === 99 ? [i] : []));
    assert.deepEqual(darker, [8, 13, 18, 23, 26, 28, 33]);
    assert.deepEqual(new Set(data), new Set([99, 100]));
  });

  it("leaves a picture of the wanted size as it is", () => {
    const image = imageOf(cases.find(({ width, height }) => width === 29 && height === 31)!);
    assert.deepEqual(resizeAsBigVision(image, 29, 31).data, image.data);
  });
});

describe("the setting of the resize", () => {
  it("is big_vision's cut to bytes under `bigVision`, and has its notebook's floats as a name of its own", () => {
    assert.equal(bigVision.resize, "bilinear-antialias");
    assert.equal(settingsWith({ resize: "bilinear-antialias-float" }).resize, "bilinear-antialias-float");
    assert.throws(() => settingsWith({ resize: "bilinear" as never }), /resize.*expected/);
  });
});

withKernels("TensorFlow's own kernel", () => {
  it("gives the same floats, to the bit", () => {
    for (const test of cases) {
      const image = imageOf(test);
      const expected = scaleAndTranslate(image, test.toWidth, test.toHeight);
      const result = resizeBilinearAntialias(image, test.toWidth, test.toHeight);
      assert.deepEqual(result, expected, `${test.width}x${test.height} -> ${test.toWidth}x${test.toHeight}`);
    }
  });
});

/**
 * What `tf.image.resize(image, size, "bilinear", antialias=True)` runs. Source: TensorFlow,
 * python/ops/image_ops_impl.py.
 */
function scaleAndTranslate({ data, width, height }: RawImage, toWidth: number, toHeight: number): Float32Array {
  type Native = {
    binding: Record<"TF_ATTR_TYPE" | "TF_ATTR_STRING" | "TF_ATTR_BOOL" | "TF_FLOAT", number>;
    executeSingleOutput(name: string, attributes: object[], inputs: tf.Tensor[]): tf.Tensor;
  };
  const native = tf.backend() as unknown as Native;
  const { TF_ATTR_TYPE, TF_ATTR_STRING, TF_ATTR_BOOL, TF_FLOAT } = native.binding;
  const attributes = [
    { name: "T", type: TF_ATTR_TYPE, value: TF_FLOAT },
    { name: "kernel_type", type: TF_ATTR_STRING, value: "triangle" },
    { name: "antialias", type: TF_ATTR_BOOL, value: true },
  ];
  return tf.tidy(() => {
    const scale = [Math.fround(toHeight / height), Math.fround(toWidth / width)];
    const inputs = [
      tf.tensor4d(Float32Array.from(data), [1, height, width, 3]),
      tf.tensor1d([toHeight, toWidth], "int32"),
      ...[tf.tensor1d(scale), tf.tensor1d([0, 0])],
    ];
    return native.executeSingleOutput("ScaleAndTranslate", attributes, inputs).dataSync() as Float32Array;
  });
}
