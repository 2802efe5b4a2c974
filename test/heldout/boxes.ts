/** A box with its label; coordinates are shares of the picture's height and width. */
export type Box = { label: string; y0: number; x0: number; y1: number; x1: number };

const OBJECT = /^<loc(\d{4})><loc(\d{4})><loc(\d{4})><loc(\d{4})> (.+)$/;

/** The boxes of a well-formed answer, `<loc y0><loc x0><loc y1><loc x1> label ; ...`; null for any other. */
export function parseBoxes(text: string): Box[] | null {
  const boxes = text.split(" ; ").map((part) => {
    const match = OBJECT.exec(part);
    if (!match) return null;
    const [y0, x0, y1, x1] = match.slice(1, 5).map((digits) => Number(digits) / 1024);
    return { label: match[5], y0, x0, y1, x1 };
  });
  return boxes.every((box) => box !== null) ? boxes : null;
}

/** Intersection over union. */
export function iou(a: Box, b: Box): number {
  const overlap = Math.max(0, Math.min(a.y1, b.y1) - Math.max(a.y0, b.y0)) * Math.max(0, Math.min(a.x1, b.x1) - Math.max(a.x0, b.x0));
  const area = (box: Box) => (box.y1 - box.y0) * (box.x1 - box.x0);
  return overlap / (area(a) + area(b) - overlap);
}

/**
 * The IoU of each expected box with the answer's box of the same label, in order; 0 where there is none, and for
 * every box too many. A malformed answer counts 0 for each expected box.
 */
export function detectionIous(answer: string, expected: string): number[] {
  const given = parseBoxes(answer) ?? [];
  const wanted = parseBoxes(expected)!;
  const matched = wanted.map((box) => {
    const index = given.findIndex(({ label }) => label === box.label);
    return index === -1 ? 0 : iou(box, given.splice(index, 1)[0]);
  });
  return [...matched, ...given.map(() => 0)];
}
