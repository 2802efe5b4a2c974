import { readdir, stat } from "node:fs/promises";
import { basename, dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import type { ByteSource, Folder } from "./byte-source.js";
import { checkRange, MAX_PIECE, readInPieces, reasonOf } from "./bytes.js";
import { WeightsError } from "./errors.js";
import { safeSegments } from "./file-name.js";
import { requireVersion, versionOf } from "./file-version.js";
import { hasUrl, openUrl, readUrl } from "./http.js";
import { decodeUtf8, parseJson } from "./json.js";
import "./node-memory.js";
import { isMissing, NotAFileError, openPlain } from "./plain-file.js";

/**
 * Longest file that is read whole: the largest that models bring, tokenizer.json, has 35 MB; more than this is no such
 * file.
 */
export const MAX_WHOLE_FILE = 256 * 2 ** 20;

/**
 * Longest JSON file that is read, in bytes: parsed it takes about 15 times as much. Only vocabularies and indices come
 * to megabytes.
 */
const MAX_JSON = 2 ** 23;
const MAX_LARGE_JSON = 2 ** 26;
const LARGE_JSON = /(^|\/)(tokenizer|.*\.index|.*\.weights)\.json$/;

/** Longest JSON file of that name that is read, in bytes. */
export const longestJson = (file: string): number => (LARGE_JSON.test(file) ? MAX_LARGE_JSON : MAX_JSON);

/** `bytes` as a source; `read` copies. Throws `WeightsError` only for ranges outside. */
export function memorySource(name: string, bytes: Uint8Array): ByteSource {
  return {
    name,
    size: bytes.length,
    read: async (start, end) => {
      checkRange(name, bytes.length, start, end);
      return new Uint8Array(bytes.subarray(start, end));
    },
    close: async () => {},
  };
}

/**
 * Opens a file on disk; throws `WeightsError` when it is missing, no plain file, or cannot be read. `pieceSize`: bytes
 * per system call.
 */
export async function openFile(path: string, pieceSize = MAX_PIECE): Promise<ByteSource> {
  const { handle, info } = await openPlain(path).catch((error: unknown) => {
    if (error instanceof NotAFileError) throw new WeightsError(`${path}: expected a file, found ${error.kind}`);
    throw new WeightsError(`${path}: cannot be opened (${reasonOf(error)})`);
  });
  const file = { path, descriptor: handle.fd, version: versionOf(info) };
  const fill = async (piece: Uint8Array, position: number): Promise<void> => {
    for (let at = 0; at < piece.length;) {
      const { bytesRead } = await handle.read(piece, at, piece.length - at, position + at);
      const range = `${position}..${position + piece.length}`;
      if (bytesRead === 0) throw new WeightsError(`${path}: ended inside bytes ${range}; was it cut while being read?`);
      at += bytesRead;
    }
  };
  const source = { name: path, size: Number(info.size) };
  const read = async (start: number, end: number): Promise<Uint8Array> => {
    try {
      const bytes = await readInPieces(source, [start, end], fill, pieceSize);
      await requireVersion(path, handle.fd, file.version);
      return bytes;
    } catch (error) {
      if (error instanceof WeightsError) throw error;
      throw new WeightsError(`${path}: bytes ${start}..${end} cannot be read (${reasonOf(error)})`);
    }
  };
  return { ...source, file, read, close: () => handle.close() };
}

/** Weight files that may be given in place of their folder. */
const WEIGHT_FILE = /\.(safetensors|npz|weights\.h5|weights\.json)$/;

/**
 * Opens a model folder: a directory on disk, a `file:` URL of one, or an http(s) URL below which the files lie; or the
 * folder of a weight file (`*.safetensors`, `*.npz`, `*.weights.h5`) whose path or URL is given, beside which all other
 * files are then looked for. Throws `WeightsError` for a missing directory, a path to another file, and other URL
 * schemes. A URL is first asked when a file is; `signal` stops every request to it.
 */
export async function openFolder(pathOrUrl: string, signal?: AbortSignal): Promise<Folder> {
  if (/^https?:\/\//i.test(pathOrUrl)) return urlFolder(pathOrUrl, signal);
  if (/^file:\/\//i.test(pathOrUrl)) return localFolder(fileURLToPath(pathOrUrl));
  if (/^[a-z][a-z0-9+.-]*:\/\//i.test(pathOrUrl)) {
    throw new WeightsError(`${pathOrUrl}: expected a folder on disk or an http(s) URL, this scheme is not known`);
  }
  return localFolder(pathOrUrl);
}

async function localFolder(path: string): Promise<Folder> {
  const info = await stat(path).catch((error: unknown) => {
    if (isMissing(error)) throw new WeightsError(`${path}: there is no such folder`);
    throw new WeightsError(`${path}: cannot be opened (${reasonOf(error)})`);
  });
  if (info.isFile() && WEIGHT_FILE.test(path)) {
    return { ...(await localFolder(dirname(path))), weightFile: basename(path) };
  }
  if (!info.isDirectory()) {
    throw new WeightsError(`${path}: expected a model folder, found a file; give the folder that holds it`);
  }
  // Links are followed: the Hugging Face cache is a folder of links into a store beside it.
  const locate = (file: string): string => join(path, ...safeSegments(path, file));
  return finishFolder({
    name: path,
    localPath: resolve(path),
    list: async () => {
      const names = await readdir(path).catch((error: unknown) => {
        throw new WeightsError(`${path}: cannot be listed (${reasonOf(error)})`);
      });
      return names.sort();
    },
    open: async (file) => openFile(locate(file)),
    has: async (file) => {
      const path = locate(file);
      const found = await stat(path).catch((error: unknown) => {
        if (isMissing(error)) return null;
        throw new WeightsError(`${path}: cannot be looked at (${reasonOf(error)})`);
      });
      return found !== null && !found.isDirectory(); // a pipe or a device is there, and reading says what it is
    },
    readBytes: async (file, limit = MAX_WHOLE_FILE) => {
      const source = await openFile(locate(file));
      try {
        if (source.size > limit) {
          throw new WeightsError(`${source.name}: ${source.size} bytes, expected at most ${limit} for such a file`);
        }
        return await source.read(0, source.size);
      } finally {
        await source.close();
      }
    },
  });
}

function urlFolder(text: string, signal: AbortSignal | undefined): Folder {
  if (!URL.canParse(text)) throw new WeightsError(`${text}: this is not a valid URL`);
  const base = new URL(text);
  if (base.username || base.password) {
    throw new WeightsError(`${base.origin}: a name or password inside a URL is not sent; give the URL without it`);
  }
  const [, folderPath, weightFile] = WEIGHT_FILE.test(base.pathname)
    ? /^(.*)\/([^/]*)$/.exec(base.pathname)!
    : [null, base.pathname.replace(/\/*$/, ""), undefined];
  const name = `${base.origin}${folderPath}`;
  const locate = (file: string): string =>
    // A query of the folder (a version, a signature) goes with each file; it stays out of names, for it may be secret.
    `${name}/${safeSegments(name, file).map(encodeURIComponent).join("/")}${base.search}`;
  return finishFolder({
    name,
    localPath: null,
    weightFile: weightFile === undefined ? undefined : decodedName(weightFile, text),
    open: async (file) => openUrl(locate(file), `${name}/${file}`, { signal }),
    has: async (file) => hasUrl(locate(file), `${name}/${file}`, { signal }),
    readBytes: async (file, limit = MAX_WHOLE_FILE) => readUrl(locate(file), `${name}/${file}`, limit, { signal }),
  });
}

function decodedName(name: string, url: string): string {
  try {
    return decodeURIComponent(name);
  } catch {
    throw new WeightsError(`${url}: this is not a valid URL`);
  }
}

/** A folder with `readJson` on top of its `readBytes`. */
export function finishFolder(folder: Omit<Folder, "readJson">): Folder {
  const readJson = async (file: string): Promise<unknown> => {
    const where = `${folder.name}/${file}`;
    return parseJson(decodeUtf8(await folder.readBytes(file, longestJson(file)), where), where);
  };
  return { ...folder, readJson };
}
