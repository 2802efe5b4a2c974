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

/** Reads codes of a growing number of bits. */
class CodeReader {
  private at = 0;
  private held = 0;
  private heldBits = 0;
  constructor(
    private readonly input: Uint8Array,
    private readonly lowestFirst: boolean,
  ) {}

  /** The next code of so many bits, at most 12; -1 where the input is exhausted. */
  next(bits: number): number {
    while (this.heldBits < bits) {
      if (this.at >= this.input.length) return -1;
      const byte = this.input[this.at++]!;
      this.held = this.lowestFirst ? this.held | (byte << this.heldBits) : ((this.held << 8) | byte) & 0xffffff;
      this.heldBits += 8;
    }
    this.heldBits -= bits;
    const mask = (1 << bits) - 1;
    if (!this.lowestFirst) return (this.held >>> this.heldBits) & mask;
    const code = this.held & mask;
    this.held >>>= bits;
    return code;
  }
}

/**
 * Decodes the codes of LZW into `output` from its start, until it is full, the end code comes or the input is
 * exhausted. Returns the number of bytes written. Throws an `Error` for a code that cannot stand where it does.
 */
export function decodeLzw(
  input: Uint8Array,
  output: Uint8Array,
  { literalBits, lowestFirst, early }: LzwVariant,
): number {
  const codes = new CodeReader(input, lowestFirst);
  const [clear, end] = [1 << literalBits, (1 << literalBits) + 1];
  // An entry is a run that was written before: where it begins in the output, and how long it is.
  const [starts, lengths] = [new Int32Array(MAX_CODES), new Int32Array(MAX_CODES)];
  let [bits, next, previous, at] = [literalBits + 1, end + 1, -1, 0];
  while (at < output.length) {
    const code = codes.next(bits);
    if (code < 0 || code === end) break;
    if (code === clear) {
      [bits, next, previous] = [literalBits + 1, end + 1, -1];
      continue;
    }
    if (code > next || (code === next && previous < 0)) throw new Error("an LZW code stands before its entry");
    const from = at;
    if (code < clear) output[at++] = code;
    else {
      // The entry that is being made is the run before, and its first byte again.
      const [start, length] = code < next ? [starts[code]!, lengths[code]!] : [previous, from - previous + 1];
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
