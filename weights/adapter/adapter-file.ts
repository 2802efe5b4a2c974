import { WeightsError } from "../errors.js";
import { isFloat } from "../dtype.js";
import { findWeights } from "../find-weights.js";
import { shown } from "../json.js";
import { canonicalNames } from "../names.js";
import { readHeader, type TensorEntry } from "../safetensors.js";
import type { ByteSource, Folder } from "../byte-source.js";
import { type AdapterConfig, parseAdapterConfig } from "./config.js";
import { type AdapterTensor, type ExpectedAdapter, expectedAdapter } from "./expected.js";
import { MatchBudget } from "./match-budget.js";
import { spell, type Spelling, SPELLINGS } from "./spelling.js";

/** The two files of an adapter. */
export const ADAPTER_CONFIG = "adapter_config.json";
export const ADAPTER_WEIGHTS = "adapter_model.safetensors";
const PICKLED_WEIGHTS = "adapter_model.bin";

/** What PEFT puts in front of every name. */
const PREFIX = "base_model.model.";

/** Names that one error lists of each kind: all of any real adapter. */
const LISTED = 2000;

/** Whether a folder holds an adapter and no model. */
export async function isAdapterFolder(folder: Folder): Promise<boolean> {
  return (await folder.has(ADAPTER_CONFIG)) && (await findWeights({ ...folder, weightFile: undefined })) === null;
}

/** The checked adapter_config.json of a folder. */
export async function readAdapterConfig(folder: Folder): Promise<AdapterConfig> {
  if (!(await folder.has(ADAPTER_CONFIG))) {
    throw new WeightsError(`${folder.name}: there is no ${ADAPTER_CONFIG}; expected a folder that PEFT has written`);
  }
  return parseAdapterConfig(await folder.readJson(ADAPTER_CONFIG), `${folder.name}/${ADAPTER_CONFIG}`);
}

/** A tensor of the file, and what it is for. */
export type PlacedTensor = AdapterTensor & { readonly entry: TensorEntry };

/** An adapter's files, opened and compared with a model; the caller closes it. */
export class AdapterFile {
  private constructor(
    readonly folder: Folder,
    readonly config: AdapterConfig,
    private readonly source: ByteSource,
    private readonly expected: ExpectedAdapter,
    /** The tensors of the file, and where they belong. */
    readonly placed: readonly PlacedTensor[],
  ) {}

  /**
   * Opens an adapter for a model (canonical name -> shape of its tensors) and reads no tensor yet. Throws
   * `WeightsError` for what is not supported, and one that lists all tensors that are missing, that belong to nothing,
   * that have another shape or no float type.
   */
  static async open(folder: Folder, model: ReadonlyMap<string, readonly number[]>): Promise<AdapterFile> {
    const config = await readAdapterConfig(folder);
    if (!(await folder.has(ADAPTER_WEIGHTS))) throw new WeightsError(await nothingFound(folder));
    const source = await folder.open(ADAPTER_WEIGHTS);
    try {
      const entries = (await readHeader(source)).tensors;
      const { expected, placed } = fitted(entries, model, config, folder.name);
      return new AdapterFile(folder, config, source, expected, placed);
    } catch (error) {
      await source.close();
      throw error;
    }
  }

  /** The modules that get low-rank parts. */
  get targets(): ExpectedAdapter["targets"] {
    return this.expected.targets;
  }

  /** What the config asks for, by canonical name. */
  get tensors(): ExpectedAdapter["tensors"] {
    return this.expected.tensors;
  }

  /** The bytes of a tensor, or of the part of it from `start` to `end`. */
  read({ entry }: PlacedTensor, start = 0, end = entry.end - entry.start): Promise<Uint8Array> {
    return this.source.read(entry.start + start, entry.start + end);
  }

  close(): Promise<void> {
    return this.source.close();
  }
}

async function nothingFound(folder: Folder): Promise<string> {
  if (!(await folder.has(PICKLED_WEIGHTS))) return `${folder.name}: there is no ${ADAPTER_WEIGHTS}`;
  const how = "load it in PEFT and save it with save_pretrained(safe_serialization=True)";
  return `${folder.name}: has only ${PICKLED_WEIGHTS}, a pickle, which could run any program while it is read; ${how}`;
}

type Fit = { expected: ExpectedAdapter; placed: PlacedTensor[] };

/** The file's tensors against what its config asks for, in the spelling that its names have. */
function fitted(
  entries: ReadonlyMap<string, TensorEntry>,
  model: ReadonlyMap<string, readonly number[]>,
  config: AdapterConfig,
  where: string,
): Fit {
  const ours = new Map([...canonicalNames(entries.keys(), where)]);
  const place = { where: `${where}/${ADAPTER_CONFIG}`, budget: new MatchBudget() };
  const attempts = spellingsOf(ours).map((spelling) => {
    const expected = expectedAdapter(model, config, spelling, place);
    return { spelling, expected, faults: faultsOf(ours, entries, expected) };
  });
  if (attempts.length === 0) throw new WeightsError(unspelled(ours, where));
  // Names of the language model alone may be those of several versions, which differ in what expressions match
  // elsewhere.
  const [best] = attempts.sort((a, b) => a.faults.count - b.faults.count);
  if (best.faults.count > 0) {
    const advice = `Its modules are spelled as by ${best.spelling.name}. ${adviceOn(best.faults)}`;
    throw new WeightsError(`${where}: the adapter does not fit.\n${best.faults.lines.join("\n")}\n${advice}`);
  }
  const placed = [...ours].map(([name, key]) => ({ ...best.expected.tensors.get(name)!, entry: entries.get(key)! }));
  return { expected: best.expected, placed };
}

/**
 * The spellings that give every name of the file that is in a part of the model; none where there is no such name, or
 * of several.
 */
function spellingsOf(names: ReadonlyMap<string, string>): Spelling[] {
  return SPELLINGS.filter((spelling) => {
    const ours = [...names].filter(([name]) => spell(name, spelling) !== null);
    return ours.length > 0 && ours.every(([name, key]) => key === PREFIX + spell(name, spelling));
  });
}

function unspelled(names: ReadonlyMap<string, string>, where: string): string {
  const keys = listed([...names.values()]);
  const known = SPELLINGS.slice(0, 2).map(
    (spelling) => `"${PREFIX}${spell("language_model.model.layers", spelling)}..."`,
  );
  const expected = `expected all of one kind, such as ${known.join(" or ")}`;
  return `${where}: the names are those of no version of transformers, or of several at once; ${expected}; found:${keys}`;
}

type Faults = { count: number; lines: string[]; targetsWithout: boolean };

function faultsOf(
  names: ReadonlyMap<string, string>,
  entries: ReadonlyMap<string, TensorEntry>,
  { tensors }: ExpectedAdapter,
): Faults {
  const missing = [...tensors].filter(([name, { role }]) => role !== "base" && !names.has(name)).map(([name]) => name);
  const unexpected: string[] = [];
  const misshapen: string[] = [];
  const mistyped: string[] = [];
  for (const [name, key] of names) {
    const [wanted, { shape, dtype }] = [tensors.get(name), entries.get(key)!];
    if (!wanted) unexpected.push(key);
    else if (`${shape}` !== `${wanted.shape}`) misshapen.push(`${key} is [${shape}], expected [${wanted.shape}]`);
    if (!isFloat(dtype)) mistyped.push(`${key} is ${dtype}, expected F32, F16 or BF16`);
  }
  const lists: [kind: string, names: string[]][] = [
    ["asked for by the config, and missing", missing],
    ["in the file, and belonging to nothing that the config asks for in this model", unexpected],
    ["of another shape", misshapen],
    ["of a type that is not read", mistyped],
  ];
  const lines = lists.filter(([, found]) => found.length > 0).map(([kind, found]) => line(kind, found));
  const count = lists.reduce((sum, [, found]) => sum + found.length, 0);
  return { count, lines, targetsWithout: missing.length > 0 };
}

const adviceOn = ({ targetsWithout }: Faults): string =>
  targetsWithout
    ? "Check that both files are of one adapter, and that the model is the one that it was trained on."
    : "Check that the model is the one that the adapter was trained on.";

const line = (kind: string, names: string[]): string => `  ${kind} (${names.length}):${listed(names)}`;

const listed = (names: string[]): string => {
  const rest = names.length > LISTED ? [`and ${names.length - LISTED} more`] : [];
  return [...names.slice(0, LISTED).map(plain), ...rest].map((name) => `\n    ${name}`).join("");
};

/** A name from a file without what could forge lines of a message. */
const plain = (name: string): string => (/^[\x20-\x7e]*$/.test(name) ? name : shown(name));
