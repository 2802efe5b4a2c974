import path from "node:path";

import type { ByteSource, Folder } from "../../weights/byte-source.js";
import { openFile, openFolder } from "../../weights/source.js";
import { InputError } from "../base/errors.js";
import { MaskCodec } from "./codec.js";

/** Files of a model's folder that its masks are decoded with: the first of them that is there. */
export const MASK_FILES = ["vae-oid.npz", "vae-oid.safetensors", "vae.safetensors"] as const;

const HOW_TO_GET =
  "fetch vae-oid.npz (gs://big_vision/paligemma/vae-oid.npz, or from the Hugging Face space google/paligemma-hf) into that folder, or give " +
  "its path or address as maskWeights (--mask-weights)";

/** Loads a model's codec of masks when it is first asked for, and once. */
export class MaskCodecLoader {
  private loading: Promise<MaskCodec> | null = null;

  /** `open` opens the model's folder; `weights` is the path or URL of the file where it lies elsewhere. */
  constructor(private readonly from: { open: () => Promise<Folder>; weights?: string | undefined; backend: string }) {}

  /**
   * The codec, which stays the loader's. Throws `InputError` that says what to fetch where there is no file, and
   * `WeightsError` for one that is not what it should be.
   */
  async codec(): Promise<MaskCodec> {
    this.loading ??= this.load();
    try {
      return await this.loading;
    } catch (error) {
      this.loading = null; // a file may be there the next time
      throw error;
    }
  }

  /** Frees the codec if it was loaded. */
  dispose(): void {
    void this.loading?.then(
      (codec) => codec.dispose(),
      () => {},
    );
    this.loading = null;
  }

  private async load(): Promise<MaskCodec> {
    const { open, weights, backend } = this.from;
    const source = weights === undefined ? await openFrom(await open()) : await openGiven(weights);
    try {
      return await MaskCodec.load(source, backend);
    } finally {
      await source.close();
    }
  }
}

async function openFrom(folder: Folder): Promise<ByteSource> {
  for (const file of MASK_FILES) if (await folder.has(file)) return folder.open(file);
  const looked = `${folder.name}: masks need ${MASK_FILES.join(", ")}, and there is none of them`;
  throw new InputError(`${looked}; ${HOW_TO_GET}`);
}

async function openGiven(pathOrUrl: string): Promise<ByteSource> {
  if (!/^[a-z][a-z0-9+.-]*:\/\//i.test(pathOrUrl)) return openFile(pathOrUrl);
  if (!URL.canParse(pathOrUrl)) throw new InputError(`maskWeights: ${pathOrUrl} is not a valid URL`);
  const url = new URL(pathOrUrl);
  const file = decodeURIComponent(path.posix.basename(url.pathname));
  url.pathname = path.posix.dirname(url.pathname);
  return (await openFolder(url.href)).open(file);
}
