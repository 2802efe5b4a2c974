// A vector of PALIGEMMA_LANES floats in the compiler's own vector extension, and what the kernels need of it.
//
// This file and those that include it are compiled once for each instruction set. Everything lives in a namespace of
// the including file, without linkage: were a function shared, the linker could hand AVX-512 code to a processor
// without it.
// For the same reason nothing here calls a template of the standard library.
#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>

#if defined(__F16C__) || defined(__AVX512F__)
#include <immintrin.h>
#endif

#include "../kernels.h"

namespace paligemma {
namespace PALIGEMMA_ISA {
namespace {

constexpr int kLanes = PALIGEMMA_LANES;

typedef float Floats __attribute__((vector_size(4 * PALIGEMMA_LANES)));
typedef int32_t Ints __attribute__((vector_size(4 * PALIGEMMA_LANES)));
typedef uint32_t Words __attribute__((vector_size(4 * PALIGEMMA_LANES)));
typedef uint16_t Halves __attribute__((vector_size(2 * PALIGEMMA_LANES)));

#define PALIGEMMA_INLINE inline __attribute__((always_inline))

PALIGEMMA_INLINE int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }
PALIGEMMA_INLINE int64_t most(int64_t a, int64_t b) { return a > b ? a : b; }
PALIGEMMA_INLINE int64_t ceilDiv(int64_t a, int64_t b) { return (a + b - 1) / b; }
PALIGEMMA_INLINE int64_t roundUp(int64_t a, int64_t b) { return ceilDiv(a, b) * b; }

PALIGEMMA_INLINE Floats splat(float x) { return x - Floats{}; }  // x + 0 would be an addition, for the sake of -0

template <typename V>
PALIGEMMA_INLINE V loadAs(const void* p) {
  V v;
  __builtin_memcpy(&v, p, sizeof v);
  return v;
}
PALIGEMMA_INLINE Floats load(const float* p) { return loadAs<Floats>(p); }
PALIGEMMA_INLINE void store(float* p, Floats v) { __builtin_memcpy(p, &v, sizeof v); }

// The first `count` of kLanes elements, where `count` may be more; the rest are zero.
template <typename V>
PALIGEMMA_INLINE V loadSome(const void* p, int64_t count) {
  if (count >= kLanes) return loadAs<V>(p);
  V v = {};
  __builtin_memcpy(&v, p, count * sizeof v[0]);
  return v;
}
PALIGEMMA_INLINE void storeSome(float* p, Floats v, int64_t count) {
  if (count >= kLanes) return store(p, v);
  __builtin_memcpy(p, &v, count * sizeof(float));
}

PALIGEMMA_INLINE Floats asFloats(Words v) { return loadAs<Floats>(&v); }
PALIGEMMA_INLINE Words asWords(Floats v) { return loadAs<Words>(&v); }
PALIGEMMA_INLINE Words asWords(Ints v) { return loadAs<Words>(&v); }

PALIGEMMA_INLINE Floats widenBFloat16(Halves h) { return asFloats(__builtin_convertvector(h, Words) << 16); }

// Every float16 is a float32: normal numbers change the bias of their exponent, subnormal ones are counts of 2⁻²⁴.
PALIGEMMA_INLINE Floats widenFloat16(Halves h) {
#if PALIGEMMA_LANES == 16 && defined(__AVX512F__)
  return _mm512_maskz_cvtph_ps(0xffff, loadAs<__m256i>(&h));  // GCC 12 warns about the unmasked one
#elif PALIGEMMA_LANES == 8 && defined(__F16C__)
  return _mm256_cvtph_ps(loadAs<__m128i>(&h));
#else
  const Words bits = __builtin_convertvector(h, Words), sign = (bits & 0x8000) << 16, rest = bits & 0x7fff;
  const Words small = asWords(__builtin_convertvector((Ints)rest, Floats) * 0x1p-24f);
  const Words normal = (rest << 13) + (112u << 23), huge = (rest << 13) | 0x7f800000u;
  return asFloats(sign | (rest < 0x400 ? small : rest < 0x7c00 ? normal : huge));
#endif
}

// How weights of one type are read: `load` widens kLanes of them, `loadSome` the first `count` with zeros behind.
struct Float32Weights {
  static constexpr int kBytes = 4;
  static PALIGEMMA_INLINE Floats load(const uint8_t* p) { return loadAs<Floats>(p); }
  static PALIGEMMA_INLINE Floats loadSome(const uint8_t* p, int64_t count) {
    return PALIGEMMA_ISA::loadSome<Floats>(p, count);
  }
};
struct BFloat16Weights {
  static constexpr int kBytes = 2;
  static PALIGEMMA_INLINE Floats load(const uint8_t* p) { return widenBFloat16(loadAs<Halves>(p)); }
  static PALIGEMMA_INLINE Floats loadSome(const uint8_t* p, int64_t count) {
    return widenBFloat16(PALIGEMMA_ISA::loadSome<Halves>(p, count));
  }
};
struct Float16Weights {
  static constexpr int kBytes = 2;
  static PALIGEMMA_INLINE Floats load(const uint8_t* p) { return widenFloat16(loadAs<Halves>(p)); }
  static PALIGEMMA_INLINE Floats loadSome(const uint8_t* p, int64_t count) {
    return widenFloat16(PALIGEMMA_ISA::loadSome<Halves>(p, count));
  }
};

// Calls body(weights) with the reader of `dtype`.
template <typename Body>
PALIGEMMA_INLINE void withWeights(Dtype dtype, const Body& body) {
  if (dtype == Dtype::kBFloat16) return body(BFloat16Weights{});
  if (dtype == Dtype::kFloat16) return body(Float16Weights{});
  body(Float32Weights{});
}

PALIGEMMA_INLINE Floats larger(Floats a, Floats b) { return a > b ? a : b; }

PALIGEMMA_INLINE float sum(Floats v) {
  float lanes[kLanes];
  store(lanes, v);
#pragma GCC unroll 4
  for (int half = kLanes / 2; half > 0; half /= 2) {
#pragma GCC unroll 8
    for (int i = 0; i < half; i++) lanes[i] += lanes[i + half];
  }
  return lanes[0];
}

// One stage of the transpose: exchanges the off-diagonal blocks of S x S lanes between two rows that are S apart.
template <int S, int... J>
PALIGEMMA_INLINE void exchange(Floats& a, Floats& b, std::integer_sequence<int, J...>) {
#if defined(__clang__)
  const Floats low = __builtin_shufflevector(a, b, ((J & S) ? kLanes + J - S : J)...);
  const Floats high = __builtin_shufflevector(a, b, ((J & S) ? kLanes + J : J + S)...);
#else
  const Floats low = __builtin_shuffle(a, b, Ints{((J & S) ? kLanes + J - S : J)...});
  const Floats high = __builtin_shuffle(a, b, Ints{((J & S) ? kLanes + J : J + S)...});
#endif
  a = low;
  b = high;
}

template <int S>
PALIGEMMA_INLINE void transposeStage(Floats* rows) {
#pragma GCC unroll 16
  for (int i = 0; i < kLanes; i++) {
    if (!(i & S)) exchange<S>(rows[i], rows[i + S], std::make_integer_sequence<int, kLanes>{});
  }
}

// Transposes kLanes rows of kLanes floats in place.
PALIGEMMA_INLINE void transpose(Floats* rows) {
  transposeStage<1>(rows);
  transposeStage<2>(rows);
#if PALIGEMMA_LANES >= 8
  transposeStage<4>(rows);
#endif
#if PALIGEMMA_LANES >= 16
  transposeStage<8>(rows);
#endif
}

// Splits r out of x = n · ln 2 + r, |r| <= ln 2 / 2, and returns (eʳ - 1) as Taylor's series, whose rest is below 2⁻²⁷.
PALIGEMMA_INLINE Floats expMinusOneReduced(Floats x, Floats& n) {
  const Floats shift = splat(0x1.8p23f);  // adding it rounds to an integer
  n = (x * 0x1.715476p0f + shift) - shift;
  // In two parts, of which the first ends in zeros, so that n times it is exact.
  const Floats r = (x - n * 0x1.62e4p-1f) - n * 0x1.7f7d1cp-20f;
  Floats q = splat(1.f / 5040);
  q = q * r + 1.f / 720;
  q = q * r + 1.f / 120;
  q = q * r + 1.f / 24;
  q = q * r + 1.f / 6;
  q = q * r + 0.5f;
  return r * r * q + r;
}

PALIGEMMA_INLINE Floats powerOfTwo(Ints n) { return asFloats(asWords((n + 127) << 23)); }

// eˣ: zero far below, infinity far above, NaN for NaN.
PALIGEMMA_INLINE Floats exp(Floats x) {
  x = x < -105.f ? splat(-105.f) : x;
  x = x > 89.f ? splat(89.f) : x;
  Floats n;
  const Floats p = expMinusOneReduced(x, n) + 1.f;
  // In two factors, since 2ⁿ itself may lie outside the normal numbers.
  const Ints whole = __builtin_convertvector(n, Ints), half = whole >> 1;
  return p * powerOfTwo(half) * powerOfTwo(whole - half);
}

// tanh x = e / (e + 2) with e = exp(2x) - 1 formed without cancellation.
PALIGEMMA_INLINE Floats tanh(Floats x) {
  const Words sign = asWords(x) & 0x80000000u;
  Floats a = asFloats(asWords(x) & 0x7fffffffu);
  a = a > 10.f ? splat(10.f) : a;  // where float32 says 1 already
  Floats n;
  const Floats p = expMinusOneReduced(a + a, n);
  const Floats scale = powerOfTwo(__builtin_convertvector(n, Ints));
  const Floats e = scale * p + (scale - 1.f);
  return asFloats(asWords(e / (e + 2.f)) | sign);
}

// 0.5x(1 + tanh u), u = sqrt(2/π)(x + 0.044715x³), written as x / (1 + exp(-2u)): the same number, and nothing cancels.
PALIGEMMA_INLINE Floats geluTanh(Floats x) {
  const Floats u = 0.7978845608f * (x + 0.044715f * x * x * x);
  return x / (1.f + exp(-2.f * u));
}

}  // namespace
}  // namespace PALIGEMMA_ISA
}  // namespace paligemma
