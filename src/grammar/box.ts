/** Locations along each side of a picture: a `<loc>` token names one of them. */
export const LOCATIONS = 1024;

/** A box in locations, in the order in which the model writes it: [y0, x0, y1, x1]. */
export type Box = readonly [y0: number, x0: number, y1: number, x1: number];

/** A box in pixels of a picture. */
export type PixelBox = { left: number; top: number; right: number; bottom: number };

/**
 * A box in pixels of the picture that was squashed, upright as it is seen: (location / divisor) · side. The divisor is
 * 1024, as in the model's demonstrations, or 1023, as in big_vision's evaluator of masks, with which the last location
 * is the picture's edge.
 */
export function toPixels(
  [y0, x0, y1, x1]: Box,
  { width, height }: { width: number; height: number },
  divisor: 1024 | 1023 = LOCATIONS,
): PixelBox {
  // In this order, as in big_vision: by 1023 the other one is now and then a whole pixel off where corners are cut off.
  const [across, down] = [(x: number) => (x / divisor) * width, (y: number) => (y / divisor) * height];
  return { left: across(x0), top: down(y0), right: across(x1), bottom: down(y1) };
}

/** Intersection over union of two boxes, in [0, 1]; 0 where both are empty. */
export function iou(a: PixelBox, b: PixelBox): number {
  const side = (from: number, to: number) => Math.max(0, to - from);
  const area = (box: PixelBox) => side(box.left, box.right) * side(box.top, box.bottom);
  const common =
    side(Math.max(a.left, b.left), Math.min(a.right, b.right)) *
    side(Math.max(a.top, b.top), Math.min(a.bottom, b.bottom));
  const union = area(a) + area(b) - common;
  return union > 0 ? common / union : 0;
}
