import { stat } from "node:fs/promises";
import path from "node:path";
import { fileURLToPath } from "node:url";

import type { Argument, Command, Option } from "commander";

import { CachedRepository } from "../../weights/hub/cache.js";
import { isRepositoryName } from "../../weights/hub/repository.js";
import { hubSettings } from "../../weights/hub/settings.js";
import { modelFiles } from "../../weights/model-files.js";
import { openFolder } from "../../weights/source.js";
import { adaptedPlace } from "../adapters/adapter-model.js";
import { InputError } from "../base/errors.js";
import { type Read, requireApart, type Written } from "../checkpoints/saving/require-apart.js";

type Declared = Option | Argument;
type Flags = Readonly<Record<string, unknown>>;

/** The files that a value names. */
type FilesOf = (value: string) => string[] | Promise<string[]>;

/** How a value says what is written. */
type Output = {
  /** The endings that a file may have, such as ".png"; default: any. */
  endings?: readonly string[];
  /** The path that is written for a value; default: the value. */
  at?: (value: string, flags: Flags) => string;
  /** For a folder: which of the files in it may be written. */
  holds?: (file: string) => boolean;
};

const reading = new WeakMap<Declared, { files: FilesOf; byDefault?: (() => string) | undefined }>();
const writing = new WeakMap<Declared, Output>();

/** Declares that an option or argument names a file that is read. */
export const readsFile = <T extends Declared>(declared: T): T => reads(declared, { files: (value) => [pathOf(value)] });

/**
 * Declares that it names a model, a tokenizer or an adapter: a folder, one of its files, or `owner/name`; without a
 * value `byDefault`.
 */
export const readsModel = <T extends Declared>(declared: T, byDefault?: (() => string) | undefined): T =>
  reads(declared, { files: filesOfModel, byDefault });

/** Declares that it names what is written. */
export function writes<T extends Declared>(declared: T, output: Output = {}): T {
  writing.set(declared, output);
  return declared;
}

/** What an option or argument names: something that is read, that is written, or neither. */
export const roleOf = (declared: Declared): "reads" | "writes" | null =>
  reading.has(declared) ? "reads" : writing.has(declared) ? "writes" : null;

function reads<T extends Declared>(declared: T, role: { files: FilesOf; byDefault?: (() => string) | undefined }): T {
  reading.set(declared, role);
  return declared;
}

/**
 * Checks what a command has declared to write, before it computes anything. Throws `InputError` for an ending that is
 * not taken, a folder that is not there, and where it would write what it reads, by whatever name (`requireApart`).
 */
export async function checkDeclaredFiles(command: Command): Promise<void> {
  const flags = command.opts();
  const given = [
    ...command.registeredArguments.map((one, i) => ({ one, name: `<${one.name()}>`, value: command.processedArgs[i] })),
    ...command.options.map((one) => ({ one, name: one.long!, value: flags[one.attributeName()] as unknown })),
  ];
  const written: Written[] = [];
  const read: Read[] = [];
  for (const { one, name, value } of given) {
    const [output, input] = [writing.get(one), reading.get(one)];
    if (output && typeof value === "string") written.push(await checkedOutput(name, value, output, flags));
    if (!input) continue;
    const values = [value ?? input.byDefault?.() ?? []].flat() as string[];
    read.push({ name, files: (await Promise.all(values.map((each) => input.files(each)))).flat() });
  }
  if (written.length > 0) await requireApart(written, read);
}

async function checkedOutput(name: string, value: string, output: Output, flags: Flags): Promise<Written> {
  const { endings, at, holds } = output;
  const place = at ? at(value, flags) : value;
  if (endings && !endings.includes(path.extname(place).toLowerCase())) {
    throw new InputError(`${name} ${place}: expected a file that ends in ${endings.join(" or ")}`);
  }
  await (holds ? requireFolderPlace : requireFilePlace)(`${name} ${place}`, place);
  return { name, path: place, holds };
}

async function requireFilePlace(where: string, place: string): Promise<void> {
  const folder = path.dirname(place);
  const found = await stat(folder).catch(() => null);
  if (!found?.isDirectory()) throw new InputError(`${where}: there is no folder ${folder}; make it first`);
  const before = await stat(place).catch(() => null);
  if (before?.isDirectory())
    throw new InputError(`${where}: expected a file to write, found a folder; name a file in it`);
}

async function requireFolderPlace(where: string, place: string): Promise<void> {
  const before = await stat(place).catch(() => null);
  if (before === null || before.isDirectory()) return;
  throw new InputError(`${where}: expected a folder to write into, found a file; name another place`);
}

/** A path, where a value is one or the `file:` address of one. */
const pathOf = (value: string): string => (/^file:/i.test(value) && URL.canParse(value) ? fileURLToPath(value) : value);

async function filesOfModel(value: string): Promise<string[]> {
  const place = pathOf(value);
  const here = await stat(place).catch(() => null);
  const onHub = here === null && isRepositoryName(place);
  const folders = onHub ? await snapshotsOf(place) : [place, ...(here?.isDirectory() ? await baseOf(place) : [])];
  const files = await Promise.all(folders.map(filesInFolder));
  return here?.isFile() ? [place, ...files.flat()] : files.flat();
}

/**
 * The folders of a repository on the Hub that are in the cache; none where the settings are no good, which loading
 * says.
 */
const snapshotsOf = (repository: string): Promise<string[]> =>
  hubSettings().then(
    (settings) => new CachedRepository(settings, repository).snapshots(),
    () => [],
  );

/** The files of a model on disk; none of what is no model, which loading it says. */
async function filesInFolder(place: string): Promise<string[]> {
  if (/^https?:/i.test(place)) return [];
  const folder = await openFolder(place).catch(() => null);
  const root = folder?.localPath;
  return folder && root ? (await modelFiles(folder)).map((file) => path.join(root, file)) : [];
}

/** The folder of the base, where a place is that of an adapter. */
async function baseOf(place: string): Promise<string[]> {
  const adapted = await adaptedPlace(place).catch(() => null);
  return adapted === null || adapted.place === place ? [] : [adapted.place];
}
