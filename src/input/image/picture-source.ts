import { fileURLToPath } from "node:url";

import { InputError } from "../../base/errors.js";
import { fetchPicture } from "./fetch-picture.js";
import { isBase64, MAX_IMAGE_FILE_BYTES, readImageFile } from "./image-file.js";

/**
 * A picture file: its path or address (`data:`, `file:`, `http:`, `https:`) as text or `URL`, a `Blob` or `File`, or
 * its bytes.
 */
export type PictureFile = string | URL | Blob | ArrayBuffer | SharedArrayBuffer | ArrayBufferView;

/** How picture files are come by. */
export type PictureOptions = {
  /** Whether pictures given as http(s) addresses are fetched; default: they are refused. */
  fetchPictures?: boolean | undefined;
};

/** Longest path or address that errors repeat, in characters. */
const MAX_NAME = 200;

/** Whether text is an address and no path: a scheme that is read, or any scheme with two slashes. */
export const isAddress = (text: string): boolean => /^(?:data|file|https?|blob):|^[a-z][a-z0-9+.-]+:\/\//i.test(text);

/**
 * The bytes of a picture file, and the name that errors about it begin with: its path or address, or `label`. Throws
 * `InputError` for what is no picture file, and where it cannot be read.
 */
export async function readPictureFile(
  input: PictureFile,
  label: string,
  options: PictureOptions = {},
): Promise<{ bytes: Uint8Array; name: string }> {
  if (input instanceof URL) return readAddress(input.href, options);
  if (typeof input === "string") {
    if (isAddress(input.trim())) return readAddress(input.trim(), options);
    const name = isBase64(input) ? `${label} (${input.length} characters of text)` : shortened(input);
    return { name, bytes: await readImageFile(input, name) };
  }
  return { name: label, bytes: isBlob(input) ? await bytesOfBlob(input, label) : bytesOf(input, label) };
}

async function readAddress(
  text: string,
  { fetchPictures }: PictureOptions,
): Promise<{ bytes: Uint8Array; name: string }> {
  const name = addressName(text);
  const scheme = text.slice(0, text.indexOf(":")).toLowerCase();
  if (scheme === "data") return { name, bytes: bytesOfData(text, name) };
  if (scheme !== "file" && scheme !== "http" && scheme !== "https") {
    const advice = scheme === "blob" ? "give the Blob itself" : "download the picture, and give its path";
    throw new InputError(`${name}: ${scheme}: addresses are not read; ${advice}`);
  }
  let url: URL;
  let path: string | undefined;
  try {
    url = new URL(text);
    path = scheme === "file" ? fileURLToPath(url) : undefined;
  } catch {
    throw new InputError(`${name}: expected an address, received one that cannot be parsed; check it`);
  }
  if (path !== undefined) return { name, bytes: await readImageFile(path, name) };
  if (fetchPictures === true) return { name, bytes: await fetchPicture(url, name) };
  const advice = "load with fetchPictures: true (--fetch-pictures), or download it and give its path";
  throw new InputError(`${name}: pictures are not fetched from http(s) addresses unless asked to; ${advice}`);
}

/** A data: address is named by its type alone, others without user, password and query, which may be secret. */
function addressName(text: string): string {
  const scheme = text.slice(0, text.indexOf(":")).toLowerCase();
  if (scheme === "data")
    return `${shortened(/^[^,;]*/.exec(text.slice(0, 100))![0])} address of ${text.length} characters`;
  return shortened(text.replace(/[?#][\s\S]*$/, "").replace(/^([a-z][a-z0-9+.-]*:\/\/)[^/]*@/i, "$1"));
}

const shortened = (text: string): string =>
  text.length <= MAX_NAME ? text : `${text.slice(0, 40)}... (${text.length} characters)`;

/** Source: RFC 2397. */
function bytesOfData(text: string, name: string): Uint8Array {
  const comma = text.indexOf(",");
  if (comma < 0) throw new InputError(`${name}: expected "data:image/png;base64," and the base64, received no comma`);
  const body = text.slice(comma + 1).replace(/#[^#]*$/, ""); // a fragment is no data
  if (!/;\s*base64\s*$/i.test(text.slice(0, comma))) return Buffer.from(percentDecoded(body, name), "latin1");
  const base64 = (body.includes("%") ? percentDecoded(body, name) : body).replaceAll(/\s/g, "");
  if (/^[A-Za-z0-9+/_-]*={0,2}$/.test(base64)) return Buffer.from(base64, "base64");
  throw new InputError(`${name}: expected base64 behind the comma, received other characters; check where it was cut`);
}

function percentDecoded(text: string, name: string): string {
  if (/%(?![0-9a-f]{2})/i.test(text))
    throw new InputError(`${name}: expected two digits behind each %; check the address`);
  return text.replaceAll(/%([0-9a-f]{2})/gi, (_, digits: string) => String.fromCharCode(parseInt(digits, 16)));
}

// Blobs of other realms and libraries are known by what they can do.
const isBlob = (input: unknown): input is Blob =>
  input instanceof Blob ||
  (typeof input === "object" && input !== null && "size" in input && typeof (input as Blob).arrayBuffer === "function");

async function bytesOfBlob(blob: Blob, label: string): Promise<Uint8Array> {
  if (blob.size > MAX_IMAGE_FILE_BYTES) {
    throw new InputError(
      `${label}: the Blob has ${blob.size} bytes, more than the ${MAX_IMAGE_FILE_BYTES} read as an image`,
    );
  }
  try {
    return new Uint8Array(await blob.arrayBuffer());
  } catch (error) {
    throw new InputError(`${label}: the Blob cannot be read; give its bytes`, { cause: error });
  }
}

// A copy of shared memory, which others may write to while it is decoded.
function bytesOf(input: unknown, label: string): Uint8Array {
  if (input instanceof ArrayBuffer) return new Uint8Array(input);
  if (input instanceof SharedArrayBuffer) return new Uint8Array(input).slice();
  if (ArrayBuffer.isView(input)) {
    const bytes = new Uint8Array(input.buffer, input.byteOffset, input.byteLength);
    return bytes.buffer instanceof SharedArrayBuffer ? bytes.slice() : bytes;
  }
  throw new InputError(
    `${label}: expected a path, an address, the bytes of a file, RGB or pixels, got ${kindOf(input)}`,
  );
}

/** What was given instead, and what to do with it. */
function kindOf(input: unknown): string {
  if (input === null || typeof input !== "object") return input === null ? "null" : typeof input;
  if (Array.isArray(input)) return "a list; give one picture, or a Uint8Array of its bytes";
  const has = (name: string): boolean => typeof (input as Record<string, unknown>)[name] === "function";
  if (has("then")) return "a promise; await it first";
  if (has("arrayBuffer")) return "a response; give new Uint8Array(await response.arrayBuffer())";
  if (has("toBuffer")) return "an object with toBuffer(); give what it returns, awaited";
  if (has("getReader") || has("pipe")) return "a stream; collect its bytes first";
  return `an object of ${Object.keys(input).slice(0, 4).join(", ") || "no fields"}`;
}
