/**
 * The sixteen values of NF4, rising: quantiles of a normal distribution, 0 and both ends included.
 * Source: bitsandbytes, functional.py (get_4bit_type); arXiv 2305.14314.
 */
export const NF4 = Float32Array.of(
  -1,
  -0.6961928009986877,
  -0.5250730514526367,
  -0.39491748809814453,
  -0.28444138169288635,
  -0.18477343022823334,
  -0.09105003625154495,
  0,
  0.07958029955625534,
  0.16093020141124725,
  0.24611230194568634,
  0.33791524171829224,
  0.44070982933044434,
  0.5626170039176941,
  0.7229568362236023,
  1,
);

/** Points halfway between neighbours of a rising codebook: a number gets the code of as many as lie below it. */
export const midpointsOf = (codebook: Float32Array): Float32Array =>
  codebook.slice(1).map((value, i) => (value + codebook[i]) / 2);
