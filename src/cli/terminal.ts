import { StringDecoder } from "node:string_decoder";

/**
 * Control characters but line feed and tab, and those that turn the direction of writing: what may make a terminal show
 * or do what is not there.
 */
// eslint-disable-next-line no-control-regex
const UNSEEN = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u202a-\u202e\u2066-\u2069]/g;

/**
 * Text as a terminal may show it: C0 controls and DEL as their pictures (U+2400 and on), C1 controls and marks of
 * direction as "\u009b". Line feeds and tabs stay.
 */
export const visible = (text: string): string =>
  text.replace(UNSEEN, (unseen) => {
    const code = unseen.charCodeAt(0);
    if (code < 0x20) return String.fromCharCode(0x2400 + code);
    return code === 0x7f ? "\u2421" : `\\u${code.toString(16).padStart(4, "0")}`;
  });

/** The plain `write` of streams that `guardTerminal` has changed. */
const plain = new WeakMap<NodeJS.WriteStream, NodeJS.WriteStream["write"]>();

/**
 * From here on everything that is written to `stream` is made `visible`, by whatever module, where it is a terminal:
 * names and answers come from files and models. A file or a pipe gets its bytes. A program's own colours and bars go
 * through `controlsOf`.
 */
export function guardTerminal(stream: NodeJS.WriteStream): void {
  if (!stream.isTTY || plain.has(stream)) return;
  const write = stream.write.bind(stream) as NodeJS.WriteStream["write"];
  const decoder = new StringDecoder("utf8"); // a character may come in two pieces
  plain.set(stream, write);
  stream.write = ((chunk: string | Uint8Array, ...rest: [never]) =>
    write(visible(typeof chunk === "string" ? chunk : decoder.write(Buffer.from(chunk))), ...rest)) as typeof write;
}

/** The same stream with its cursor and colours: for what this program draws itself, with no text from outside. */
export function controlsOf(stream: NodeJS.WriteStream): NodeJS.WriteStream {
  const write = plain.get(stream);
  return write ? (Object.create(stream, { write: { value: write } }) as NodeJS.WriteStream) : stream;
}
