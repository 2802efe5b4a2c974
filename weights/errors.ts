/**
 * A weight file, index, header or tensor is not what it claims or what the model needs; the message says where and what
 * to do.
 */
export class WeightsError extends Error {
  override readonly name = "WeightsError";
}
