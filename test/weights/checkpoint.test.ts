import assert from "node:assert/strict";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import * as tf from "@tensorflow/tfjs";
import type { Checkpoint } from "../../weights/index.js";
import {
  canonicalName,
  encodeNpz,
  encodeSafetensors,
  LM_HEAD,
  memorySource,
  openFolder,
  PATCH_KERNEL,
  toFloat32,
  WeightsError,
  type ByteSource,
  type Folder,
  type TensorData,
} from "../../weights/index.js";
import { counting, f32, fileOf, randomBytes, randomOf, weightsError, withFolder } from "./helpers.js";
import { openWeights } from "../../weights/open-weights.js";

const INDEX = "model.safetensors.index.json";
const EMBEDDING = "language_model.model.embed_tokens.weight";
const NORM = "language_model.model.norm.weight";
const random = randomOf(17);
type Tensors = Map<string, TensorData>;

/** A tiny model under hub names, and the shapes that its config would ask for. */
function tiny(): Tensors {
  return new Map([
    [EMBEDDING, f32([5, 3], random)],
    ["language_model.model.layers.1.mlp.up_proj.weight", f32([4, 3], random)],
    ["language_model.model.layers.10.mlp.up_proj.weight", f32([4, 3], random)],
    [NORM, { dtype: "BF16", shape: [3], data: randomBytes(6, random) }],
    ["vision_tower.vision_model.post_layernorm.bias", { dtype: "F16", shape: [2], data: randomBytes(4, random) }],
    ["multi_modal_projector.linear.weight", f32([3, 2], random)],
  ]);
}
const shapesOf = (tensors: Tensors): Map<string, readonly number[]> =>
  new Map([...tensors].map(([name, { shape }]) => [name, shape]));
const renamed = (tensors: Tensors, rename: (name: string) => string): Tensors =>
  new Map([...tensors].map(([name, tensor]) => [rename(name), tensor]));
const without = (tensors: Tensors, ...names: string[]): Tensors =>
  new Map([...tensors].filter(([name]) => !names.includes(name)));
const part = (tensors: Tensors, ...names: string[]): Tensors =>
  new Map(names.map((name) => [name, tensors.get(name)!]));
const bytesIn = ({ data }: TensorData): Uint8Array => new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
const bits = (values: ArrayBufferView): string =>
  Buffer.from(values.buffer, values.byteOffset, values.byteLength).toString("hex");

/** A folder in memory that counts what is read of each file. */
function folderOf(
  files: Record<string, Uint8Array | Tensors | object>,
): Folder & { opened: Map<string, ReturnType<typeof counting>> } {
  const opened = new Map<string, ReturnType<typeof counting>>();
  const bytesOfFile = (file: string): Uint8Array => {
    const content = Object.hasOwn(files, file) ? files[file] : undefined;
    if (content === undefined) throw new WeightsError(`${file}: there is no such file`);
    if (content instanceof Uint8Array) return content;
    return content instanceof Map ? encodeSafetensors(content) : new TextEncoder().encode(JSON.stringify(content));
  };
  const open = async (file: string): Promise<ByteSource> => {
    const source = counting(memorySource(`folder/${file}`, bytesOfFile(file)));
    opened.set(file, source);
    return source;
  };
  return {
    name: "folder",
    localPath: null,
    opened,
    open,
    has: async (file) => Object.hasOwn(files, file),
    readBytes: async (file) => bytesOfFile(file),
    readJson: async (file) => JSON.parse(new TextDecoder().decode(bytesOfFile(file))) as unknown,
  };
}
const openOne = (tensors: Tensors): Promise<Checkpoint> => openWeights(folderOf({ "model.safetensors": tensors }));
const refused = (files: Record<string, Uint8Array | Tensors | object>, ...patterns: RegExp[]): Promise<void> =>
  assert.rejects(openWeights(folderOf(files)), weightsError(...patterns));

/** Stages and takes every tensor and compares it, bit for bit, with what was written. */
async function expectAll(checkpoint: Checkpoint, tensors: Tensors): Promise<void> {
  assert.deepEqual([...checkpoint.entries.keys()].sort(), [...tensors.keys()].sort());
  await checkpoint.stage("");
  for (const [name, tensor] of tensors) {
    const value = checkpoint.get(name, tensor.shape);
    assert.equal(value.dtype, "float32");
    assert.deepEqual(value.shape, tensor.shape);
    assert.equal(bits(value.dataSync()), bits(toFloat32(bytesIn(tensor), tensor.dtype)), name);
    value.dispose();
  }
  assert.deepEqual(checkpoint.unread(), []);
}

/** The tiny model in two shards with its index. */
function sharded(): {
  tensors: Tensors;
  files: Record<string, Tensors | object> & { [INDEX]: { weight_map: Record<string, string>; metadata: object } };
} {
  const tensors = tiny();
  const names = [...tensors.keys()];
  const shards = { "model-1.safetensors": names.slice(0, 2), "model-2.safetensors": names.slice(2) };
  const map = Object.entries(shards).flatMap(([file, held]) => held.map((name) => [name, file]));
  const size = [...tensors.values()].reduce((sum, { data }) => sum + data.byteLength, 0);
  const held = Object.entries(shards).map(([file, list]) => [file, part(tensors, ...list)]);
  const index = { metadata: { total_size: size }, weight_map: Object.fromEntries(map) };
  return { tensors, files: { ...Object.fromEntries(held), [INDEX]: index } };
}

describe("weights/checkpoint", () => {
  before(async () => {
    await tf.setBackend("cpu");
  });

  const LAYOUTS: Record<string, (name: string) => string> = {
    "the hub": (name) => name,
    "transformers 5.18": (name) => name.replace("vision_model.", ""),
    "transformers 4.52": (name) => `model.${name.replace("language_model.model.", "language_model.")}`,
    "late 5.x in memory": (name) =>
      `model.${name.replace("language_model.model.", "language_model.").replace("vision_model.", "")}`,
    "robotics models": (name) => `paligemma_with_expert.paligemma.${name}`,
    PEFT: (name) => `base_model.model.model.${name.replace("language_model.model.", "language_model.")}`,
  };
  for (const [origin, rename] of Object.entries(LAYOUTS)) {
    it(`a file in the layout of ${origin} gives every tensor under its canonical name, bit for bit`, async () => {
      const tensors = tiny();
      const checkpoint = await openOne(renamed(tensors, rename));
      checkpoint.check(shapesOf(tensors));
      assert.equal(checkpoint.entries.get(NORM)!.name, rename(NORM));
      assert.equal(checkpoint.entries.get(NORM)!.file, "model.safetensors");
      await expectAll(checkpoint, tensors);
    });
  }

  it("a checkpoint counts its bytes by type", async () => {
    const checkpoint = await openOne(tiny());
    assert.deepEqual(Object.fromEntries(checkpoint.bytesByForm), { F32: (15 + 12 + 12 + 6) * 4, BF16: 6, F16: 4 });
    assert.equal(checkpoint.totalBytes, 190);
  });

  it("opening reads headers only, and staging a tensor reads that tensor only", async () => {
    const folder = folderOf({ "model.safetensors": tiny() });
    const checkpoint = await openWeights(folder);
    const source = folder.opened.get("model.safetensors")!;
    const header = source.bytes();
    assert.equal(header, source.size - checkpoint.totalBytes);
    const heard: number[] = [];
    await checkpoint.stage("multi_modal_projector.linear.weight", (bytes) => heard.push(bytes));
    assert.equal(source.bytes() - header, 24);
    assert.deepEqual(heard, [24]);
    await checkpoint.stage("multi_modal_projector", (bytes) => heard.push(bytes));
    assert.deepEqual(heard, [24], "what is staged is not read again");
  });

  it("neighbours are read at once, tensors apart are not joined", async () => {
    const folder = folderOf({ "model.safetensors": tiny() });
    const checkpoint = await openWeights(folder);
    const source = folder.opened.get("model.safetensors")!;
    source.ranges.length = 0;
    await checkpoint.stage("");
    assert.equal(source.ranges.length, 1);
    assert.equal(source.bytes(), checkpoint.totalBytes);

    // In the file by name: "p", "p-x", "p.y", so that a stranger lies between the two at or below "p".
    const apart: Tensors = new Map(["p", "p-x", "p.y"].map((name) => [name, f32([2], random)]));
    const second = folderOf({ "model.safetensors": apart });
    const parted = await openWeights(second);
    second.opened.get("model.safetensors")!.ranges.length = 0;
    await parted.stage("p");
    assert.equal(second.opened.get("model.safetensors")!.bytes(), 16);
    for (const name of ["p", "p.y"]) {
      const value = parted.get(name, [2]);
      assert.equal(bits(value.dataSync()), bits(bytesIn(apart.get(name)!)));
      value.dispose();
    }
    assert.throws(() => parted.get("p-x", [2]), weightsError(/not staged/));
  });

  it("neighbours are joined only up to the size of one read", async () => {
    const bytes = 6 * 2 ** 20;
    const data = new Uint8Array(bytes);
    const tensors: Tensors = new Map(
      ["a", "b", "c", "d"].map((name) => [name, { dtype: "F16", shape: [bytes / 2], data }]),
    );
    const folder = folderOf({ "model.safetensors": tensors });
    const checkpoint = await openWeights(folder);
    const source = folder.opened.get("model.safetensors")!;
    source.ranges.length = 0;
    await checkpoint.stage("");
    assert.deepEqual(
      source.ranges.map(([start, end]) => end - start),
      [2 * bytes, 2 * bytes],
    );
    for (const name of tensors.keys()) checkpoint.get(name, [bytes / 2]).dispose();
  });

  it("a large tensor is read in pieces, with progress between", async () => {
    const rows = 9 * 2 ** 20; // 36 MiB
    const data = new Uint8Array(rows * 4);
    for (let at = 0; at < data.length; at += 4099) data[at] = at % 127;
    const folder = folderOf({
      "model.safetensors": new Map([
        ["large", { dtype: "F32", shape: [rows], data }],
        ["small", f32([3], random)],
      ]) as Tensors,
    });
    const checkpoint = await openWeights(folder);
    const source = folder.opened.get("model.safetensors")!;
    const heard: number[] = [];
    await checkpoint.stage("large", (bytes) => heard.push(bytes));
    assert.ok(heard.length >= 3 && Math.max(...heard) <= 2 ** 24, String(heard));
    assert.equal(
      heard.reduce((sum, bytes) => sum + bytes, 0),
      data.length,
    );
    assert.ok(source.ranges.every(([start, end]) => end - start <= 2 ** 24));
    const value = checkpoint.get("large", [rows]);
    assert.ok(Buffer.from((value.dataSync() as Float32Array).buffer).equals(Buffer.from(data.buffer)));
    value.dispose();
  });

  it("a prefix ends at a dot: layers.1 is not layers.10", async () => {
    const checkpoint = await openOne(tiny());
    await checkpoint.stage("language_model.model.layers.1");
    checkpoint.get("language_model.model.layers.1.mlp.up_proj.weight", [4, 3]).dispose();
    const other = "language_model.model.layers.10.mlp.up_proj.weight";
    assert.throws(() => checkpoint.get(other, [4, 3]), weightsError(/layers\.10\.mlp\.up_proj\.weight is not staged/));
    await assert.rejects(checkpoint.stage("language_model.model.layer"), weightsError(/no tensor at or below/));
  });

  it("a tensor is handed out once, in its shape, and belongs to the caller", async () => {
    const checkpoint = await openOne(tiny());
    const before = tf.memory().numTensors;
    await checkpoint.stage(NORM);
    assert.throws(
      () => checkpoint.get(NORM, [1, 3]),
      weightsError(/norm\.weight is \[3\], the model asks for \[1,3\]/),
    );
    for (const other of [[4], [3, 1], []]) {
      assert.throws(() => checkpoint.get(NORM, other), weightsError(/norm\.weight is \[3\], the model asks for/));
    }
    assert.throws(() => checkpoint.get("nothing", [4]), weightsError(/there is no tensor nothing/));
    assert.ok(checkpoint.unread().includes(NORM), "a get that fails is no read");
    const value = checkpoint.get(NORM, [3]);
    assert.equal(tf.memory().numTensors, before + 1);
    assert.ok(!checkpoint.unread().includes(NORM));
    assert.throws(() => checkpoint.get(NORM, [3]), weightsError(/not staged.*once a get/));
    await checkpoint.close();
    assert.equal(value.dataSync().length, 3);
    value.dispose();
  });

  it("closing frees what is staged", async () => {
    const checkpoint = await openOne(tiny());
    await checkpoint.stage("");
    await checkpoint.close();
    assert.throws(() => checkpoint.get(NORM, [3]), weightsError(/not staged/));
  });

  it("a scope joins paths with dots and checks as the checkpoint does", async () => {
    const checkpoint = await openOne(tiny());
    await checkpoint.stage("language_model");
    const scope = checkpoint.at("language_model.model");
    scope.at("layers.1").at("mlp").get("up_proj.weight", [4, 3]).dispose();
    scope.get("norm.weight", [3]).dispose();
    assert.throws(
      () => scope.at("layers.10").get("mlp.up_proj.weight", [3, 4]),
      weightsError(/language_model\.model\.layers\.10\.mlp/),
    );
    assert.equal(checkpoint.unread().length, 4);
  });

  describe("what a checkpoint holds", () => {
    it("is checked in one error that lists missing, unexpected, misshapen and mistyped tensors", async () => {
      const tensors = without(tiny(), NORM);
      tensors.set("model.language_model.layers.0.surprise", f32([1], random));
      tensors.set("multi_modal_projector.linear.weight", f32([2, 3], random));
      tensors.set(EMBEDDING, { dtype: "I32", shape: [5, 3], data: new Uint8Array(60) });
      const checkpoint = await openOne(tensors);
      assert.throws(
        () => checkpoint.check(shapesOf(tiny())),
        weightsError(
          /^folder: the weights are not those of this model\.\n/,
          /missing \(1\): language_model\.model\.norm\.weight\n/,
          /unexpected \(1\): language_model\.model\.layers\.0\.surprise \(in the file "model\.language_model\.layers\.0\.surprise"\)\n/,
          /misshapen \(1\): multi_modal_projector\.linear\.weight is \[2,3\], expected \[3,2\]\n/,
          /not read \(1\): language_model\.model\.embed_tokens\.weight is I32, expected F32, F16 or BF16\n/,
          /config\.json belong together/,
        ),
      );
    });

    it("is listed up to 20 names of a kind", async () => {
      const extra = new Map([...Array(25).keys()].map((i) => [`extra.${i}`, f32([1], random)]));
      const checkpoint = await openOne(new Map([...tiny(), ...extra]));
      const error = weightsError(/unexpected \(25\): extra\.0, .*, and 5 more\n/);
      assert.throws(() => checkpoint.check(shapesOf(tiny())), error);
      assert.throws(
        () => checkpoint.check(shapesOf(tiny())),
        (thrown: Error) => thrown.message.match(/extra\./g)!.length === 20,
      );
    });

    it("is refused when 8-bit floats or F64 are in it, and called quantised where bitsandbytes made it", async () => {
      for (const dtype of ["F8_E4M3", "F64"] as const) {
        const data = new Uint8Array(dtype === "F64" ? 24 : 3);
        const checkpoint = await openOne(new Map([...tiny(), [NORM, { dtype, shape: [3], data }]]));
        assert.throws(
          () => checkpoint.check(shapesOf(tiny())),
          weightsError(new RegExp(`norm\\.weight is ${dtype}, expected F32`)),
        );
        await checkpoint.stage(NORM);
        assert.throws(() => checkpoint.get(NORM, [3]), weightsError(/are not read/));
      }
      const tables = new Map([[`${NORM}.absmax`, f32([1], random)]]);
      const quantised = await openOne(new Map([...tiny(), ...tables]));
      assert.throws(
        () => quantised.check(shapesOf(tiny())),
        weightsError(/quantised by bitsandbytes, with tables that have no matrix/),
      );
    });

    it("may include a pooling head and position ids, which are passed over", async () => {
      const tensors = tiny();
      const ids: TensorData = { dtype: "I64", shape: [1, 4], data: new Uint8Array(32) };
      const extra: Tensors = new Map([
        ["vision_tower.vision_model.embeddings.position_ids", ids],
        ["vision_tower.head.probe", f32([1, 1, 2], random)],
      ]);
      const checkpoint = await openOne(new Map([...tensors, ...extra]));
      checkpoint.check(shapesOf(tensors));
      await expectAll(checkpoint, tensors);
    });

    it("is refused when two names are one tensor, in one file or in two", async () => {
      const twice = "model.language_model.norm.weight";
      const both = [
        /"language_model\.model\.norm\.weight"/,
        /"model\.language_model\.norm\.weight"/,
        /only one may be there/,
      ];
      await refused({ "model.safetensors": new Map([...tiny(), [twice, f32([3], random)]]) }, ...both);
      const { files } = sharded();
      const shard = files["model-1.safetensors"] as Tensors;
      const index = { weight_map: { ...files[INDEX].weight_map, [twice]: "model-1.safetensors" } };
      await refused(
        { ...files, "model-1.safetensors": new Map([...shard, [twice, f32([3], random)]]), [INDEX]: index },
        ...both,
      );
    });
  });

  describe("a PaliGemma within a larger model", () => {
    const policies: Record<string, { inner: string; others: string[] }> = {
      "pi0 of lerobot": {
        inner: "model.paligemma_with_expert.paligemma.",
        others: ["model.paligemma_with_expert.gemma_expert.model.norm.weight", "model.action_in_proj.bias"],
      },
      "pi0.5 of openpi": {
        inner: "paligemma_with_expert.paligemma.",
        others: ["paligemma_with_expert.gemma_expert.lm_head.weight", "time_mlp_in.weight", "action_out_proj.weight"],
      },
      "pi0-FAST of lerobot": {
        inner: "model.pi0_paligemma.",
        others: ["normalize_inputs.buffer_observation_state.mean", "unnormalize_outputs.buffer_action.std"],
      },
    };
    for (const [policy, { inner, others }] of Object.entries(policies)) {
      it(`is what is read of ${policy}, and a notice lists the rest`, async () => {
        const tensors = tiny();
        const rest = new Map(others.map((name) => [name, f32([2, 3], random)]));
        const checkpoint = await openOne(new Map([...renamed(tensors, (name) => inner + name), ...rest]));
        checkpoint.check(shapesOf(tensors));
        const [notice] = checkpoint.notices;
        assert.match(notice, new RegExp(`within a larger model; ${others.length} tensors of the rest were left out`));
        for (const name of others)
          assert.ok(notice.includes(name.split(".").slice(0, 3).join(".")), `${notice}: ${name}`);
        await expectAll(checkpoint, tensors);
      });
    }

    it("may lack nothing and hold nothing else itself, and without such a prefix nothing is left out", async () => {
      const tensors = tiny();
      const { inner, others } = policies["pi0 of lerobot"];
      const more = (names: string[]) => names.map((name): [string, TensorData] => [name, f32([2], random)]);
      const inside = await openOne(
        new Map([...renamed(tensors, (name) => inner + name), ...more([`${inner}value_head.weight`])]),
      );
      assert.throws(() => inside.check(shapesOf(tensors)), weightsError(/unexpected \(1\): value_head\.weight/));
      const bare = await openOne(new Map([...tensors, ...more(others)]));
      assert.throws(() => bare.check(shapesOf(tensors)), weightsError(/unexpected \(2\)/));
      assert.deepEqual(bare.notices, []);
    });
  });

  describe("a checkpoint of another kind is called by what it is", () => {
    const LAYER = "language_model.model.layers.1.mlp.up_proj";
    for (const [kind, extra, says] of [
      ["GPTQ", [`${LAYER}.qweight`, `${LAYER}.g_idx`], /quantised by GPTQ or AWQ/],
      ["compressed-tensors", [`${LAYER}.weight_packed`], /quantised by compressed-tensors/],
      ["FP8", [`${LAYER}.weight_scale_inv`], /quantised by FP8/],
      ["MLX in 4 bit", [`${LAYER}.scales`, `${LAYER}.biases`], /quantised by MLX/],
      ["quanto", [`${LAYER}.weight._data`], /quantised by quanto/],
      ["an adapter", [`base_model.model.${LAYER}.lora_A.weight`], /tensors of a LoRA adapter: load its base model/],
      ["no kind that is known", [`${LAYER}.extra`], /the download is complete/],
    ] as const) {
      it(kind, async () => {
        const tensors = tiny();
        const checkpoint = await openOne(
          new Map([...tensors, ...extra.map((name) => [name, f32([2], random)] as const)]),
        );
        assert.throws(() => checkpoint.check(shapesOf(tensors)), weightsError(says));
      });
    }

    it("a Gemma alone", async () => {
      const tensors = tiny();
      const gemma = new Map([...tensors].filter(([name]) => name.startsWith("language_model.")));
      const checkpoint = await openOne(gemma);
      assert.throws(() => checkpoint.check(shapesOf(tensors)), weightsError(/a Gemma, and no PaliGemma/));
    });
  });

  it("a patch embedding with channels last, as MLX stores it, is turned, whatever its type", async () => {
    const [D, P] = [5, 4];
    const rest = tiny();
    for (const dtype of ["F32", "BF16"] as const) {
      const width = dtype === "F32" ? 4 : 2;
      const last = randomBytes(D * P * P * 3 * width, random);
      const first = new Uint8Array(last.length);
      for (let d = 0; d < D; d++)
        for (let y = 0; y < P; y++)
          for (let x = 0; x < P; x++)
            for (let c = 0; c < 3; c++) {
              const from = (((d * P + y) * P + x) * 3 + c) * width;
              first.set(last.subarray(from, from + width), (((d * 3 + c) * P + y) * P + x) * width);
            }
      const kernel = (shape: number[], data: Uint8Array): TensorData => ({ dtype, shape, data });
      const right = new Map([[PATCH_KERNEL, kernel([D, 3, P, P], first)]]);
      await expectAll(
        await openOne(new Map([...rest, [PATCH_KERNEL, kernel([D, P, P, 3], last)]])),
        new Map([...rest, ...right]),
      );
      await expectAll(await openOne(new Map([...rest, ...right])), new Map([...rest, ...right]));
    }
  });

  describe("an lm_head", () => {
    const heads = ["language_model.lm_head.weight", "lm_head.weight", "paligemma_with_expert.paligemma.lm_head.weight"];

    it("is taken as the embedding when that is absent", async () => {
      for (const head of heads) {
        const tensors = tiny();
        const checkpoint = await openOne(renamed(tensors, (name) => (name === EMBEDDING ? head : name)));
        checkpoint.check(shapesOf(tensors));
        assert.equal(checkpoint.entries.get(EMBEDDING)!.name, head);
        await expectAll(checkpoint, tensors);
      }
    });

    it("with the embedding's content is passed over", async () => {
      for (const head of heads) {
        const tensors = tiny();
        const checkpoint = await openOne(new Map([...tensors, [head, tensors.get(EMBEDDING)!]]));
        checkpoint.check(shapesOf(tensors));
        assert.equal(checkpoint.head, "embedding");
        await expectAll(checkpoint, tensors);
      }
    });

    /** A head that differs from the embedding in its last byte. */
    const other = ({ data, ...rest }: TensorData): TensorData => {
      const changed = bytesIn({ data, ...rest }).slice();
      changed[59] ^= 1;
      return { ...rest, data: changed };
    };

    it("of another content stays a tensor of its own, and a notice says that the config ties it", async () => {
      for (const name of heads) {
        const tensors = tiny();
        const head = other(tensors.get(EMBEDDING)!);
        const checkpoint = await openOne(new Map([...tensors, [name, head]]));
        assert.equal(checkpoint.head, "own");
        assert.match(checkpoint.notices.join(), /tie_word_embeddings is true, but lm_head and embed_tokens .* differ/);
        const both = new Map([...tensors, [LM_HEAD, head]]);
        checkpoint.check(shapesOf(both));
        await expectAll(checkpoint, both);
      }
    });

    it("of another type or shape stays as well, and does not pass the comparison with the model where it cannot", async () => {
      const tensors = tiny();
      const expected = new Map([...shapesOf(tensors), [LM_HEAD, [5, 3]]]);
      for (const [head, fault] of [
        [{ dtype: "I32", shape: [5, 3], data: bytesIn(tensors.get(EMBEDDING)!) }, /lm_head\.weight is I32/],
        [f32([3, 5], random), /lm_head\.weight is \[3,5\], expected \[5,3\]/],
      ] as const) {
        const checkpoint = await openOne(new Map([...tensors, ["lm_head.weight", head as TensorData]]));
        assert.equal(checkpoint.head, "own");
        assert.throws(() => checkpoint.check(expected), weightsError(fault));
        await checkpoint.close();
      }
    });

    it("that the config does not tie is a tensor of its own whatever it holds, and alone it is no embedding", async () => {
      const tensors = tiny();
      const folder = (weights: Tensors) => folderOf({ "model.safetensors": weights });
      const equal = new Map([...tensors, [LM_HEAD, tensors.get(EMBEDDING)!]]);
      const checkpoint = await openWeights(folder(equal), { tied: false });
      assert.equal(checkpoint.head, "own");
      assert.deepEqual(checkpoint.notices, []);
      await expectAll(checkpoint, equal);
      const alone = renamed(tensors, (name) => (name === EMBEDDING ? LM_HEAD : name));
      const headless = await openWeights(folder(alone), { tied: false });
      assert.throws(() => headless.check(shapesOf(equal)), weightsError(/missing \(1\): .*embed_tokens\.weight/));
      await headless.close();
    });

    it("is not read where headers alone are asked for, and counts as tied then", async () => {
      const tensors = tiny();
      const both = new Map([...tensors, [LM_HEAD, other(tensors.get(EMBEDDING)!)]]);
      const headers = await openWeights(folderOf({ "model.safetensors": both }), { compareHead: false });
      assert.equal(headers.head, "not compared");
      assert.equal(headers.entries.has(LM_HEAD), false);
      const first = folderOf({ "model.safetensors": both });
      await openWeights(first, { compareHead: false });
      const second = folderOf({ "model.safetensors": both });
      await openWeights(second);
      const [header, all] = [first, second].map(({ opened }) => opened.get("model.safetensors")!.bytes());
      assert.equal(all - header, 2 * 5 * 3 * 4, "both tables, and nothing else");
    });
  });

  describe("shards", () => {
    it("give every tensor, from the folder on disk too", async () => {
      const { tensors, files } = sharded();
      await expectAll(await openWeights(folderOf(files)), tensors);
      await withFolder(files, async (path) => {
        const checkpoint = await openWeights(await openFolder(path));
        assert.equal(checkpoint.entries.get(NORM)!.file, "model-2.safetensors");
        await expectAll(checkpoint, tensors);
        await checkpoint.close();
      });
    });

    it("count where a whole file lies beside them, and a notice says that it is not read", async () => {
      const { tensors, files } = sharded();
      const checkpoint = await openWeights(folderOf({ ...files, "model.safetensors": renamed(tensors, () => NORM) }));
      assert.match(
        checkpoint.notices.join(),
        /model\.safetensors lies beside model\.safetensors\.index\.json and is not read/,
      );
      await expectAll(checkpoint, tensors);
      assert.deepEqual((await openWeights(folderOf(files))).notices, []);
      const whole = {
        [INDEX]: { weight_map: Object.fromEntries([...tensors.keys()].map((name) => [name, "model.safetensors"])) },
      };
      assert.deepEqual((await openWeights(folderOf({ ...whole, "model.safetensors": tensors }))).notices, []);
    });

    it("are refused when one is missing, which is named", async () => {
      const { files } = sharded();
      delete (files as Record<string, unknown>)["model-2.safetensors"];
      await refused(
        files,
        /folder: the shard model-2\.safetensors, named by model\.safetensors\.index\.json, is missing/,
      );
    });

    it("are refused when the index leads out of the folder", async () => {
      const { files } = sharded();
      for (const file of ["../model-1.safetensors", "/etc/passwd", "..\\x", "http://127.0.0.1:1/x"]) {
        await withFolder(
          { ...files, [INDEX]: { weight_map: { ...files[INDEX].weight_map, [NORM]: file } } },
          async (path) => {
            const folder = await openFolder(path);
            await assert.rejects(openWeights(folder), weightsError(/does not stay in the folder/));
          },
        );
      }
    });

    it("are refused when they hold less, more or other tensors than the index says", async () => {
      const { tensors, files } = sharded();
      const map = files[INDEX].weight_map;
      const index = (weight_map: object) => ({ ...files, [INDEX]: { weight_map } });
      await refused(
        index({ ...map, ghost: "model-1.safetensors" }),
        /puts the tensor "ghost" into model-1\.safetensors, which does not hold it/,
      );
      await refused(
        index({ ...map, [NORM]: "model-1.safetensors" }),
        /model-2\.safetensors: holds the tensor "language_model\.model\.norm\.weight".* puts it into model-1/,
      );
      const fewer = Object.fromEntries(Object.entries(map).filter(([name]) => name !== NORM));
      await refused(
        index(fewer),
        /model-2\.safetensors: holds the tensor "language_model\.model\.norm\.weight".* does not name it/,
      );
      const doubled = new Map([...(files["model-1.safetensors"] as Tensors), ...part(tensors, NORM)]);
      await refused({ ...files, "model-1.safetensors": doubled }, /model-1\.safetensors: holds.*puts it into model-2/);
    });

    it("are refused when the index is not an index", async () => {
      const { files } = sharded();
      for (const [index, pattern] of [
        [[], /has weight_map undefined, expected an object/],
        [{}, /has weight_map undefined/],
        [{ weight_map: {} }, /has weight_map \{\}/],
        [{ weight_map: [] }, /has weight_map \[\]/],
        [{ weight_map: { a: 5 } }, /maps "a" to 5, expected a file name/],
        [new TextEncoder().encode("{"), /index\.json is not valid JSON/],
        [new TextEncoder().encode('{"weight_map":{"a":"x","a":"y"}}'), /key "a" twice/],
      ] as const) {
        await refused({ ...files, [INDEX]: index }, pattern);
      }
    });

    it("are refused when total_size is not their size", async () => {
      const { files } = sharded();
      for (const total of [189, 191, "190", null, -1]) {
        const index = { ...files[INDEX], metadata: { total_size: total } };
        await refused({ ...files, [INDEX]: index }, /total_size .*, the tensors have 190 bytes/);
      }
      const unsaid = await openWeights(folderOf({ ...files, [INDEX]: { weight_map: files[INDEX].weight_map } }));
      assert.equal(unsaid.totalBytes, 190);
    });

    it("that are damaged are refused by name, and files that were opened are closed", async () => {
      const { files } = sharded();
      const folder = folderOf({ ...files, "model-2.safetensors": fileOf("{") });
      let closed = 0;
      const open = folder.open;
      folder.open = async (file) => {
        const source = await open(file);
        return { ...source, close: async () => void closed++ };
      };
      await assert.rejects(
        openWeights(folder),
        weightsError(/model-2\.safetensors: the safetensors header is not valid JSON/),
      );
      assert.equal(closed, 2);
    });
  });

  describe("a folder without weights", () => {
    it("is refused with what was looked for", () =>
      refused(
        { "config.json": {} },
        /folder: found no weights in a form that is read \(model\.safetensors .*\.weights\.h5 .*\.npz\)\); give the folder/,
      ));

    it("is refused with the files of other formats that it holds", async () => {
      const mask = encodeNpz(new Map([["decoder.0.bias", f32([1], random)]]));
      const others = { "pytorch_model.bin": "x", "vae-oid.npz": mask, "flax_model.msgpack": "x", "config.json": {} };
      await withFolder(others, async (path) => {
        const opening = openWeights(await openFolder(path));
        await assert.rejects(
          opening,
          weightsError(/only flax_model\.msgpack, pytorch_model\.bin, vae-oid\.npz, which is not read/),
        );
      });
      await refused({ "pytorch_model.bin": {} }, /only pytorch_model\.bin, which is not read/);
    });
  });

  it("a checkpoint behind a URL gives every tensor, reading ranges only", async () => {
    const { tensors, files } = sharded();
    await withFolder(files, async (path) => {
      const wholes: string[] = [];
      const server = createServer(async (request, response) => {
        const name = request.url!.slice(1);
        const bytes = Object.hasOwn(files, name) ? await readFile(join(path, name)) : null;
        if (!bytes) return void response.writeHead(404).end();
        const range = /^bytes=(\d+)-(\d+)$/.exec(request.headers.range ?? "");
        if (!range && request.method === "GET") wholes.push(name);
        if (!range)
          return void response
            .writeHead(200, { "content-length": bytes.length })
            .end(request.method === "GET" ? bytes : undefined);
        const [start, last] = [Number(range[1]), Number(range[2])];
        response
          .writeHead(206, { "content-range": `bytes ${start}-${last}/${bytes.length}` })
          .end(bytes.subarray(start, last + 1));
      });
      await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
      try {
        const folder = await openFolder(`http://127.0.0.1:${(server.address() as AddressInfo).port}/`);
        const checkpoint = await openWeights(folder);
        await expectAll(checkpoint, tensors);
        assert.deepEqual(wholes, [INDEX]);
        await checkpoint.close();
      } finally {
        server.closeAllConnections();
        await new Promise((done) => server.close(done));
      }
    });
  });

  it("names are canonical in entries whatever the file says", async () => {
    const checkpoint = await openOne(renamed(tiny(), (name) => `model.${name}`));
    for (const name of checkpoint.entries.keys()) assert.equal(canonicalName(name), name);
  });
});
