/** How a format packs its codes. */
export type LzwVariant = {
  /** Bits of the literals; GIF says them, TIFF has 8. */
  literalBits: number;
  /** GIF fills bytes from the lowest bit, TIFF from the highest. */
  lowestFirst: boolean;
  /** TIFF widens codes one entry early. Source: TIFF 6.0, section 13. */
  early: 0 | 1;
};

const MAX_CODES = 4096;

/**
 * Decodes the codes of LZW into `output` from its start, until it is full, the end code comes or the input is exhausted. Returns the
 * number of bytes written. Throws an `Error` for a code that cannot stand where it does.
 */
export function decodeLzw(
  input: Uint8Array,
  output: Uint8Array,
  { literalBits, lowestFirst, early }: LzwVariant,
): number {
  const [clear, end] = [1 << literalBits, (1 << literalBits) + 1];
  // An entry is a run that was written before: where it begins in the output, and how long it is.
  const [starts, lengths] = [new Int32Array(MAX_CODES + 1), new Int32Array(MAX_CODES + 1)];
  let [bits, next, previous, at] = [literalBits + 1, end + 1, -1, 0];
  let [held, heldBits] = [0, 0];
  for (let byte = 0; at < output.length;) {
    while (heldBits < bits && byte < input.length) {
      held = lowestFirst ? held | (input[byte++]! << heldBits) : ((held << 8) | input[byte++]!) & 0xffffff;
      heldBits += 8;
    }
    if (heldBits < bits) break;
    const mask = (1 << bits) - 1;
    const code = lowestFirst ? held & mask : (held >>> (heldBits - bits)) & mask;
    if (lowestFirst) held >>>= bits;
    heldBits -= bits;
    if (code === end) break;
    if (code === clear) {
      [bits, next, previous] = [literalBits + 1, end + 1, -1];
      continue;
    }
    if (code > next || (code >= next && previous < 0)) throw new Error("an LZW code stands before its entry");
    const from = at;
    if (code < clear) output[at++] = code;
    else {
      const known = code < next;
      // The entry that is being made: the run before, and its first byte again.
      const [start, length] = known ? [starts[code]!, lengths[code]!] : [previous, from - previous + 1];
      for (let i = 0; i < length && at < output.length; i++) output[at++] = output[start + i]!;
    }
    if (previous >= 0 && next < MAX_CODES) {
      [starts[next], lengths[next]] = [previous, from - previous + 1];
      next++;
    }
    if (next + early >= 1 << bits && bits < 12) bits++;
    previous = from;
  }
  return at;
}
