import path from "node:path";

import { InputError } from "../base/errors.js";
import { isAddress } from "../input/image/picture-source.js";
import type { ImageInput } from "../input/image/decode.js";
import type { ProcessedPicture, Processor } from "../input/processor.js";
import type { AskedLine, RefusedLine } from "./batch-lines.js";
import type { Group } from "./length-buckets.js";

/**
 * A picture that is decoded and squashed: a group's pictures take the memory of the model's inputs, however large they
 * were.
 */
type ReadyPicture = { image: ImageInput; size: { width: number; height: number } };

/** A line with its pictures. */
export type ReadyLine = AskedLine & { pictures: ReadyPicture[] };

/** Pictures that are decoded at the same time: a whole one may take half a gigabyte. */
const AT_ONCE = 4;

/** What a file system answers when something is wrong with it, and not with the path. */
const OUT_OF_ORDER = new Set(["EIO", "ESTALE", "EMFILE", "ENFILE", "ENOMEM", "ENOTCONN", "ETIMEDOUT"]);

/**
 * Reads the pictures of a group, each file once; paths are relative to `folder`, addresses are what they are. A line
 * whose pictures cannot be read is refused, with the path as it is written. Throws where the file system is out of
 * order: what it holds may be right.
 */
export async function readyGroup(
  { asked, refused }: Group,
  { folder, processor }: { folder: string; processor: Processor },
): Promise<Group<ReadyLine>> {
  const fileOf = (image: string) => (isAddress(image) ? image : path.resolve(folder, image));
  const files = [...new Set(asked.flatMap(({ images }) => images.map(fileOf)))];
  const read = new Map<string, ReadyPicture | InputError>();
  for (let from = 0; from < files.length; from += AT_ONCE) {
    const some = files.slice(from, from + AT_ONCE);
    const pictures = await Promise.all(some.map((file) => readPicture(file, processor)));
    pictures.forEach((picture, i) => read.set(some[i]!, picture));
  }
  const ready: Group<ReadyLine> = { asked: [], refused: [...refused] };
  for (const line of asked) {
    const pictures = line.images.map((image) => read.get(fileOf(image))!);
    const wrong = pictures.findIndex((picture) => picture instanceof InputError);
    if (wrong < 0) ready.asked.push({ ...line, pictures: pictures as ReadyPicture[] });
    else ready.refused.push(refusedFor(line, pictures[wrong] as InputError, wrong, folder));
  }
  return ready;
}

async function readPicture(file: string, processor: Processor): Promise<ReadyPicture | InputError> {
  try {
    return squashed(await processor.readPicture(file, "image"));
  } catch (error) {
    const { code } = ((error as Error).cause ?? {}) as NodeJS.ErrnoException;
    if (!(error instanceof InputError) || OUT_OF_ORDER.has(code ?? "")) throw error;
    return error;
  }
}

// Ready pixels are not normalised again, but must lie in [-1, 1], where a checkpoint may put others; its bytes then do
// as well.
function squashed({ values, bytes, size }: ProcessedPicture): ReadyPicture {
  const side = Math.sqrt(values.length / 3);
  const ready = bytes === null || values.every((value) => value >= -1 && value <= 1);
  const image = ready ? { pixels: values, width: side, height: side } : { data: bytes, width: side, height: side };
  return { image, size };
}

function refusedFor({ id, number, images }: AskedLine, error: InputError, wrong: number, folder: string): RefusedLine {
  const written = images[wrong]!;
  if (isAddress(written)) return { id, number, error };
  // Where the data lie is another place on each machine; answers must not depend on it.
  const message = error.message.replace(path.resolve(folder, written), () => written);
  return { id, number, error: new InputError(message, { cause: error }) };
}
