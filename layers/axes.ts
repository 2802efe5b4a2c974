/*
 * One legend for every file:
 *   B batch   T query positions   S key positions   N query heads   K key heads   H head size
 *   D hidden  F MLP width         V vocabulary      P image patches (tokens of one image)
 */

/**
 * What a closed attention cell is lowered by; finite, so that a row without an open cell is uniform and not NaN.
 * Source: google-research/big_vision, big_vision/models/ppp/gemma.py (K_MASK).
 */
export const MASKED = -2.3819763e38;

/** A tensor has another shape than its place demands. */
export class ShapeError extends Error {
  override readonly name = "ShapeError";
}
