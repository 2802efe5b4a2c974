import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import path from "node:path";

import fc from "fast-check";

import { parseConfig } from "../../../src/model/config.js";
import { expectedTensors } from "../../../src/model/model.js";
import { ADAPTER_CONFIG, ADAPTER_WEIGHTS, AdapterFile } from "../../../weights/adapter/adapter-file.js";
import { type AdapterConfig, parseAdapterConfig } from "../../../weights/adapter/config.js";
import { parseJson } from "../../../weights/json.js";
import { adapterFolder } from "../../support/adapters.js";
import { tinyFolder } from "../../support/tiny.js";
import { memoryFolder, readOrRefused, target } from "../fuzz.js";
import { byteEdits, editedBytes, editedJson, jsonEdits, utf8 } from "../mutations.js";
import { partsOf, withHeader } from "./safetensors.js";

const read = (folder: string, file: string): Uint8Array => new Uint8Array(readFileSync(path.join(folder, file)));
const json = (folder: string, file: string): Record<string, unknown> =>
  JSON.parse(new TextDecoder().decode(read(folder, file))) as Record<string, unknown>;

const CONFIGS = ["lists", "patterns", "layers", "saved"].map((name) =>
  json(adapterFolder("tiny-pg2", name), ADAPTER_CONFIG),
);

const listOf = (value: unknown): unknown[] => (value == null ? [] : Array.isArray(value) ? value : [value]);

/** Every field is the file's where it has one, and else PEFT's default. */
function requireFields(found: AdapterConfig, file: Record<string, unknown>): void {
  assert.deepEqual([found.r, found.loraAlpha], [file.r ?? 8, file.lora_alpha ?? 8]);
  assert.ok(found.r > 0 && Number.isSafeInteger(found.r) && Number.isFinite(found.loraAlpha));
  assert.deepEqual([found.useRslora, found.useDora], [file.use_rslora ?? false, file.use_dora ?? false]);
  const targets = file.target_modules;
  assert.deepEqual(found.targetModules, typeof targets === "string" ? targets : listOf(targets));
  assert.deepEqual(found.modulesToSave, listOf(file.modules_to_save));
  assert.deepEqual(found.layersToTransform ?? [], listOf(file.layers_to_transform));
  assert.deepEqual(found.rankPattern, Object.entries(file.rank_pattern ?? {}));
  assert.deepEqual(found.alphaPattern, Object.entries(file.alpha_pattern ?? {}));
  assert.equal(found.bias, file.bias ?? "none");
  for (const name of Object.keys(file))
    assert.ok(!["x", "", "0", "toString", "__proto__"].includes(name) || isOff(file[name]), name);
}

const isOff = (value: unknown): boolean =>
  [null, false, ""].includes(value as null) || (typeof value === "object" && Object.keys(value!).length === 0);

/** adapter_config.json with wrong values and names. */
export const adapterConfigs = target({
  name: "adapter configs",
  share: 10,
  cases: fc.record({ file: fc.nat(CONFIGS.length - 1), edits: jsonEdits(), bytes: byteEdits(1) }),
  check: async ({ file, edits, bytes }) => {
    const text = new TextDecoder().decode(editedBytes(utf8(editedJson(CONFIGS[file], edits)), bytes));
    const found: AdapterConfig | null = await readOrRefused(() =>
      parseAdapterConfig(parseJson(text, "config"), "config"),
    );
    if (found === null) return false;
    requireFields(found, JSON.parse(text) as Record<string, unknown>);
    return true;
  },
});

let found: ReturnType<typeof expectedTensors> | undefined;
/** The tensors of the model that is adapted; found at first use, when there is a backend. */
const model = () => (found ??= expectedTensors(parseConfig(json(tinyFolder("tiny-pg2"), "config.json"))));
const FOLDER = adapterFolder("tiny-pg2", "lists");
const { header: HEADER, data: DATA } = partsOf(read(FOLDER, ADAPTER_WEIGHTS));
const FEW = fc.constantFrom(0, 1);

/** An adapter's two files, either of which says something wrong. */
export const adapters = target({
  name: "adapter folders",
  share: 1.5,
  cases: fc.record({ config: FEW.chain((n) => jsonEdits(n * 3)), header: FEW.chain((n) => jsonEdits(n * 2)) }),
  check: async ({ config, header }) => {
    const weights = withHeader(editedJson(HEADER, header), DATA);
    const folder = memoryFolder({ [ADAPTER_CONFIG]: utf8(editedJson(CONFIGS[0], config)), [ADAPTER_WEIGHTS]: weights });
    const file: AdapterFile | null = await readOrRefused(() => AdapterFile.open(folder, model()));
    if (file === null) return false;
    const written = partsOf(weights).header as Record<string, { shape: number[]; data_offsets: [number, number] }>;
    assert.equal(file.placed.length, Object.keys(written).filter((name) => name !== "__metadata__").length);
    for (const placed of file.placed) {
      const { shape, data_offsets: offsets } = written[placed.entry.name];
      assert.deepEqual(placed.shape, shape);
      assert.ok(model().has(placed.weight) && placed.entry.end <= weights.length);
      assert.deepEqual(await file.read(placed), new Uint8Array(DATA.subarray(...offsets)));
    }
    const needed = [...file.tensors.values()].filter(({ role }) => role !== "base").length;
    assert.ok(needed > 0 && file.placed.length >= needed, "all that the config asks for");
    await file.close();
    return true;
  },
});
