/** What a position is: a picture's row, the begin mark, the question, its closing newline, what follows, or padding. */
export type SegmentName = "pad" | "image" | "bos" | "prefix" | "newline" | "suffix";

/** A run of positions of one kind, [start, end). */
export type Segment = { name: SegmentName; start: number; end: number };

/** One row of ids as the processor lays it out; lists are in reading order. */
export type SegmentedRow = {
  inputIds: readonly number[];
  attentionMask: readonly number[];
  tokenTypeIds: readonly number[];
  imageTokenId: number;
  bosTokenId: number;
};

/** The segments of one row. The last prefix token closes the question: the processor always appends a newline. */
export function segmentsOf(row: SegmentedRow): Segment[] {
  const { inputIds, attentionMask, tokenTypeIds, imageTokenId, bosTokenId } = row;
  const lastOfBlock = inputIds.findLastIndex((_, i) => attentionMask[i] === 1 && tokenTypeIds[i] === 0);
  const firstBos = inputIds.findIndex((id, i) => attentionMask[i] === 1 && id === bosTokenId);
  const nameOf = (i: number): SegmentName => {
    if (attentionMask[i] === 0) return "pad";
    if (inputIds[i] === imageTokenId) return "image";
    if (tokenTypeIds[i] === 1) return "suffix";
    if (i === firstBos) return "bos";
    return i === lastOfBlock ? "newline" : "prefix";
  };
  const segments: Segment[] = [];
  inputIds.forEach((_, i) => {
    const name = nameOf(i);
    const previous = segments.at(-1);
    if (previous?.name === name) previous.end = i + 1;
    else segments.push({ name, start: i, end: i + 1 });
  });
  return segments;
}

/** The segments in words: `image:[0,256) bos:256 prefix:[257,262) newline:262`. */
export function describeSegments(segments: readonly Segment[]): string {
  const range = ({ start, end }: Segment) => (end === start + 1 ? String(start) : `[${start},${end})`);
  return segments.map((segment) => `${segment.name}:${range(segment)}`).join(" ");
}
