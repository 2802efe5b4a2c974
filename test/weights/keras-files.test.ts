import assert from "node:assert/strict";
import { cp, readFile, rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import * as tf from "@tensorflow/tfjs";
import type { Checkpoint } from "../../weights/index.js";
import { openFolder } from "../../weights/index.js";
import { isKerasState, kerasParts } from "../../weights/keras-names.js";
import { fixtures } from "../parity/reference.js";
import { inTemporaryFolder } from "../support/temporary.js";
import { weightsError } from "./helpers.js";
import { expectSameWeights } from "./same-weights.js";
import { openWeights } from "../../weights/open-weights.js";

const presets = join(fixtures, "keras");
const models = join(fixtures, "models");
const INDEX = "model.weights.json";

const expectEqual = (theirs: string, model: string): Promise<void> =>
  expectSameWeights(join(presets, theirs), join(models, model));

/** Opens a copy of the sharded preset after a change of it. */
async function changed(change: (folder: string) => Promise<void>, body: (open: Promise<Checkpoint>) => Promise<void>) {
  await inTemporaryFolder(async (folder) => {
    await cp(join(presets, "tiny-pg2-sharded"), folder, { recursive: true });
    await change(folder);
    await body(openWeights(await openFolder(folder)));
  });
}
type Index = { metadata: { total_size: number }; weight_map: Record<string, string | string[]> };
/** The sharded preset with another index is refused. */
const refused = (change: (index: Index) => unknown, ...patterns: RegExp[]): Promise<void> =>
  changed(
    async (folder) => {
      const index = JSON.parse(await readFile(join(folder, INDEX), "utf8")) as Index;
      await writeFile(join(folder, INDEX), JSON.stringify(change(index) ?? index));
    },
    (open) => assert.rejects(open, weightsError(...patterns)),
  );

describe("weights/keras-files", () => {
  before(async () => {
    await tf.setBackend("cpu");
  });

  for (const [preset, model] of [
    ["tiny-pg1", "tiny-pg1"],
    ["tiny-pg1-task", "tiny-pg1-bf16"],
    ["tiny-pg2", "tiny-pg2"],
    ["tiny-pg2-sharded", "tiny-pg2-bf16"],
  ]) {
    it(`the preset ${preset} gives the tensors of ${model}, bit for bit, without the row of <image>`, () =>
      expectEqual(preset, model));
  }

  it("a preset's file may be given by its name", async () => {
    const whole = await openWeights(await openFolder(join(presets, "tiny-pg1", "model.weights.h5")));
    assert.equal(whole.entries.size, 84);
    const sharded = await openWeights(await openFolder(join(presets, "tiny-pg2-sharded", INDEX)));
    assert.equal(sharded.entries.size, 101);
    const shard = await openWeights(await openFolder(join(presets, "tiny-pg2-sharded", "model_00002.weights.h5")));
    assert.ok(shard.entries.size < 50);
    for (const checkpoint of [whole, sharded, shard]) await checkpoint.close();
  });

  it("states of random generators are passed over, and nothing else", () => {
    assert.ok(isKerasState("layers/dropout/seed_generator/vars/0"));
    assert.ok(isKerasState("layers/block/dropout_layer/seed_generator_2/vars/0"));
    for (const name of ["layers/seed_generators/vars/0", "layers/dense/vars/0", "seed_generator/vars/x"]) {
      assert.ok(!isKerasState(name), name);
    }
  });

  it("more layers than any model has are refused before a list of them is made", () => {
    const named = (layer: number) => new Set([`layers/pali_gemma_decoder_block_${layer}/pre_ffw_norm/vars/0`]);
    assert.ok(kerasParts(named(1023), "file").size > 1024);
    const many = weightsError(/^file: layers\/pali_gemma_decoder_block has 100000001 layers, expected at most 1024$/);
    assert.throws(() => kerasParts(named(100_000_000), "file"), many);
  });

  describe("shards are refused", () => {
    it("when one is missing", () =>
      changed(
        (folder) => rm(join(folder, "model_00001.weights.h5")),
        (open) => assert.rejects(open, weightsError(/model_00001\.weights\.h5: cannot be opened .*ENOENT/)),
      ));

    it("when one holds what the index puts elsewhere, or what another holds as well", async () => {
      const swap = async (folder: string): Promise<void> => {
        const [a, b] = ["model_00000", "model_00001"].map((name) => join(folder, `${name}.weights.h5`));
        await rename(a, `${a}.tmp`);
        await rename(b, a);
        await rename(`${a}.tmp`, b);
      };
      await changed(swap, (open) => assert.rejects(open, weightsError(/which is not said to be there/)));
      const twice = (folder: string) =>
        cp(join(folder, "model_00000.weights.h5"), join(folder, "model_00001.weights.h5"));
      await changed(twice, (open) => assert.rejects(open, weightsError(/holds the array .*, and so does model_00000/)));
    });

    it("when the index leads out of the folder", async () => {
      for (const name of ["../model_00000.weights.h5", "/etc/a.h5", "..\\a.h5"]) {
        await refused(
          ({ weight_map: map }) => void (map["/layers/rms_normalization/vars"] = name),
          /does not stay in the folder/,
        );
      }
    });

    it("when the index is none", async () => {
      await refused(() => [], /has weight_map undefined/);
      await refused(() => ({ weight_map: {} }), /has weight_map \{\}/);
      await refused(
        ({ weight_map: map }) => void (map["/x/vars"] = 5 as never),
        /maps "\/x\/vars" to 5, expected names/,
      );
      await refused(
        ({ weight_map: map }) => void (map["/x/vars"] = "a.bin"),
        /to "a\.bin", expected names of \.h5 files/,
      );
    });

    it("when they hold less than the index says", async () => {
      await refused(
        ({ weight_map: map }) => void (map["/layers/new/vars"] = "model_00000.weights.h5"),
        /puts variables of "layers\/new\/vars" into model_00000\.weights\.h5, which has none/,
      );
      await refused(({ metadata }) => void (metadata.total_size = 17), /has total_size 17, the arrays have \d+ bytes/);
    });
  });

  it("a file that is damaged is refused by name, and one of other layers by the model's check", async () => {
    await changed(
      (folder) => writeFile(join(folder, "model_00002.weights.h5"), "nothing"),
      (open) => assert.rejects(open, weightsError(/model_00002\.weights\.h5: is no HDF5 file/)),
    );
    const first = await openWeights(await openFolder(join(presets, "tiny-pg1")));
    const expected = new Map([...first.entries].map(([name, { shape }]) => [name, shape]));
    const other = await openWeights(await openFolder(join(presets, "tiny-pg2")));
    assert.throws(
      () => other.check(expected),
      weightsError(/unexpected \(\d+\): .*pre_feedforward_layernorm/, /in the file "layers\//),
    );
    await first.close();
    await other.close();
  });

  it("behind a URL they are refused with advice", async () => {
    const folder = await openFolder("http://127.0.0.1:9/model.weights.h5");
    await assert.rejects(
      openWeights(folder),
      weightsError(/from a folder on disk, not by ranges; download them and give/),
    );
  });
});
