import { strict as assert } from "node:assert";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";

import { useBackend } from "../../../src/backends/backend.js";
import { loadConfig } from "../../../src/loading/load-network.js";
import { expectedTensors } from "../../../src/model/model.js";
import { AdapterFile, isAdapterFolder } from "../../../weights/adapter/adapter-file.js";
import { WeightsError } from "../../../weights/errors.js";
import { openFolder } from "../../../weights/source.js";
import { type AdapterFiles, adapterFolder, withChangedAdapter } from "../../support/adapters.js";
import { tinyFolder } from "../../support/tiny.js";

const LANGUAGE = "base_model.model.model.language_model.layers";

describe("an adapter's files", () => {
  const models = new Map<string, Map<string, number[]>>();
  before(async () => {
    await useBackend("cpu");
    for (const name of ["tiny-pg1", "tiny-pg2", "tiny-pg2-28b"]) {
      models.set(name, expectedTensors(await loadConfig(await openFolder(tinyFolder(name)))));
    }
  });

  async function open(folder: string, model = "tiny-pg2"): Promise<AdapterFile> {
    const file = await AdapterFile.open(await openFolder(folder), models.get(model)!);
    await file.close();
    return file;
  }

  /** The error that a changed copy of `lists`, or of another adapter, is refused with. */
  async function refusal(change: (files: AdapterFiles) => void, of = "lists"): Promise<string> {
    return withChangedAdapter(adapterFolder("tiny-pg2", of), change, async (folder) => {
      const error = await open(folder).then(
        () => assert.fail("it was accepted"),
        (error: unknown) => error,
      );
      assert.ok(error instanceof WeightsError, String(error));
      return error.message;
    });
  }

  it("of every name that PEFT and transformers have given are accepted, and give the same tensors", async () => {
    const places = async (name: string) =>
      (await open(adapterFolder("tiny-pg2", name))).placed.map(
        ({ weight, role, shape }) => `${weight} ${role} ${shape}`,
      );
    for (const [name, others] of Object.entries({
      lists: ["lists-old", "lists-middle"],
      language: ["language-old"],
      saved: ["saved-old"],
      embedding: ["embedding-old"],
    })) {
      for (const other of others) assert.deepEqual((await places(other)).sort(), (await places(name)).sort());
    }
  });

  it("list every tensor that belongs to nothing", async () => {
    const message = await refusal(({ tensors }) => {
      for (const layer of [0, 3]) {
        const key = `${LANGUAGE}.${layer}.self_attn.q_proj.lora_A.weight`;
        tensors.set(key.replace("q_proj", "w_proj"), tensors.get(key)!);
        tensors.delete(key);
      }
    });
    for (const [kind, name] of [
      ["missing", "language_model.model.layers.0.self_attn.q_proj.lora_A.weight"],
      ["missing", "language_model.model.layers.3.self_attn.q_proj.lora_A.weight"],
      ["belonging to nothing", `${LANGUAGE}.0.self_attn.w_proj.lora_A.weight`],
      ["belonging to nothing", `${LANGUAGE}.3.self_attn.w_proj.lora_A.weight`],
    ]) {
      const list = new RegExp(`${kind}[^:]* \\(2\\):((?:\\n    .*)*)`).exec(message);
      assert.ok(list?.[1].includes(name), message);
    }
  });

  it("list all of them also where there are hundreds", async () => {
    const message = await refusal(({ tensors }) => {
      for (const [key, tensor] of [...tensors]) {
        for (let i = 0; i < 6; i++) tensors.set(key.replace("lora_", `lora${i}_`), tensor);
      }
    });
    assert.equal(message.match(/lora\d_/g)!.length, 6 * 2 * (4 * 7 + 3 * 3));
  });

  it("are refused for another size with both shapes", async () => {
    const error = await open(adapterFolder("tiny-pg2", "lists"), "tiny-pg2-28b").catch((error: Error) => error);
    assert.ok(error instanceof WeightsError);
    assert.match(error.message, /layers\.0\.mlp\.gate_proj\.lora_B\.weight is \[48,2\], expected \[56,2\]/);
    assert.match(error.message, /self_attn\.q_proj\.lora_A\.weight is \[2,32\], expected \[2,40\]/);
    assert.doesNotMatch(error.message, /missing/);
  });

  it("are refused for the other generation, with the layers that it has not got", async () => {
    const error = await open(adapterFolder("tiny-pg2", "lists"), "tiny-pg1").catch((error: Error) => error);
    assert.ok(error instanceof WeightsError);
    assert.match(error.message, /layers\.3\.self_attn\.q_proj\.lora_A\.weight/);
  });

  it("are refused where another rank is announced than they have", async () => {
    assert.match(await refusal(({ config }) => (config.r = 3)), /lora_A\.weight is \[2,\d+\], expected \[3,\d+\]/);
    assert.match(
      await refusal(({ config }) => (config.rank_pattern = { fc1: 9, "1.self_attn.q_proj": 4 })),
      /layers\.1\.self_attn\.q_proj\.lora_B\.weight is \[64,2\], expected \[64,4\]/,
    );
  });

  it("are refused for targets without tensors, and for tensors that are no targets", async () => {
    const more = await refusal(({ config }) => (config.target_modules as string[]).push("fc1"));
    assert.match(more, /missing \(6\):\n {4}vision_tower\.vision_model\.encoder\.layers\.0\.mlp\.fc1\.lora_A\.weight/);
    const fewer = await refusal(({ config }) => (config.exclude_modules = ".*vision_tower.*"));
    assert.match(fewer, /belonging to nothing[^:]* \(18\)/);
    assert.doesNotMatch(fewer, /missing/);
    const dora = await refusal(({ config }) => (config.use_dora = true));
    assert.match(dora, /q_proj\.lora_magnitude_vector/);
    const saved = await refusal(({ config }) => (config.modules_to_save = ["projector"]));
    assert.match(
      saved,
      /missing \(2\):\n {4}multi_modal_projector\.linear\.weight\n {4}multi_modal_projector\.linear\.bias/,
    );
  });

  it("are refused where the names of two versions are mixed, or lack PEFT's prefix", async () => {
    const key = `${LANGUAGE}.1.self_attn.q_proj.lora_A.weight`;
    const renamed = (name: string) =>
      refusal(({ tensors }) => {
        tensors.set(name, tensors.get(key)!);
        tensors.delete(key);
      });
    const old = key.replace("model.model.language_model", "model.language_model.model");
    assert.match(await renamed(old), /several at once/);
    assert.match(await renamed(key.replace("base_model.model.", "")), /several at once/);
    assert.match(
      await renamed(key.replace("base_model.model.", "base_model.model.base_model.model.")),
      /several at once/,
    );
    const all = await refusal(({ tensors }) => {
      for (const [key, tensor] of [...tensors]) {
        tensors.set(key.replace("base_model.model.model", "text_model"), tensor);
        tensors.delete(key);
      }
    });
    assert.match(all, /of no version of transformers/);
  });

  it("are refused where one tensor is there under two names", async () => {
    const key = `${LANGUAGE}.1.self_attn.q_proj.lora_A.weight`;
    const old = key.replace("model.model.language_model", "model.language_model.model");
    assert.match(await refusal(({ tensors }) => tensors.set(old, tensors.get(key)!)), /both the tensor/);
  });

  it("may hold the base's table beside an adapter of the embedding, and need not", async () => {
    const table = "base_model.model.model.language_model.embed_tokens.base_layer.weight";
    await withChangedAdapter(
      adapterFolder("tiny-pg2", "embedding"),
      ({ tensors }) => assert.ok(tensors.delete(table)),
      async (folder) => assert.equal((await open(folder)).placed.filter(({ role }) => role === "base").length, 0),
    );
    const other = table.replace("embed_tokens", "norm");
    assert.match(
      await refusal(({ tensors }) => tensors.set(other, tensors.get(table)!), "embedding"),
      /belonging to nothing/,
    );
  });

  it("must hold the head where it is tied to a stored or adapted embedding", async () => {
    const stored = await refusal(({ tensors }) => tensors.delete("base_model.model.lm_head.weight"), "saved-tied");
    assert.match(stored, /missing \(1\):\n {4}language_model\.lm_head\.weight\n/);
    const adapted = await refusal(({ tensors }) => tensors.delete("base_model.model.lm_head.lora_A.weight"), "tied");
    assert.match(adapted, /missing \(1\):\n {4}language_model\.lm_head\.lora_A\.weight\n/);
  });

  it("of integers are refused", async () => {
    const key = `${LANGUAGE}.1.self_attn.q_proj.lora_A.weight`;
    const message = await refusal(({ tensors }) =>
      tensors.set(key, { dtype: "I32", shape: [2, 32], data: new Int32Array(64) }),
    );
    assert.match(message, /q_proj\.lora_A\.weight is I32, expected F32, F16 or BF16/);
  });

  it("that are a pickle are refused with the reason, and nothing of them is read", async () => {
    const folder = mkdtempSync(path.join(tmpdir(), "paligemma-adapter-"));
    try {
      await assert.rejects(open(folder), /^WeightsError: .*there is no adapter_config\.json/);
      writeFileSync(path.join(folder, "adapter_config.json"), '{"peft_type": "LORA", "target_modules": ["q_proj"]}');
      await assert.rejects(open(folder), /^WeightsError: .*there is no adapter_model\.safetensors/);
      assert.equal(await isAdapterFolder(await openFolder(folder)), true);
      writeFileSync(path.join(folder, "adapter_model.bin"), "this would be a program");
      await assert.rejects(open(folder), /^WeightsError: .*pickle, which could run any program.*safe_serialization/);
    } finally {
      rmSync(folder, { recursive: true });
    }
    assert.equal(await isAdapterFolder(await openFolder(tinyFolder("tiny-pg2"))), false);
  });

  it("with names that hold control characters do not forge lines of the message", async () => {
    const message = await refusal(({ tensors }) =>
      tensors.set("base_model.model.a\n    forged.lora_A.weight", {
        dtype: "F32",
        shape: [1],
        data: new Float32Array(1),
      }),
    );
    assert.match(message, /"base_model\.model\.a\\n {4}forged/);
  });
});
