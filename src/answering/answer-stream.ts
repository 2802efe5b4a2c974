import { listed } from "../base/options.js";
import { createStreamDecoder, type StreamDecoder, type Tokenizer } from "../input/tokenizer/tokenizer.js";

/**
 * Decodes an answer as it is generated, without its stop strings: what may be the beginning of one is held back until
 * that is decided, and nothing comes behind one. All texts joined are the answer's text.
 */
export function createAnswerStream(tokenizer: Tokenizer, stops: string | readonly string[] = []): StreamDecoder {
  const stopStrings = listed(stops);
  const plain = createStreamDecoder(tokenizer);
  let held = "";
  let stopped = false;
  const release = (added: string, last: boolean): string => {
    if (stopped) return "";
    held += added;
    const places = stopStrings.map((stop) => held.indexOf(stop)).filter((at) => at >= 0);
    stopped = places.length > 0;
    const end = stopped ? Math.min(...places) : last ? held.length : held.length - longestBegun(held, stopStrings);
    const text = held.slice(0, end);
    held = held.slice(end);
    return text;
  };
  return { push: (id) => release(plain.push(id), false), end: () => release(plain.end(), true) };
}

// How much of the end of a text may be the beginning of a stop string.
function longestBegun(text: string, stopStrings: readonly string[]): number {
  const begun = stopStrings.map((stop) => {
    let length = Math.min(stop.length - 1, text.length);
    while (length > 0 && !text.endsWith(stop.slice(0, length))) length--;
    return length;
  });
  return Math.max(0, ...begun);
}
