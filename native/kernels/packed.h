// Weights of 8 and 4 bit: how they are read, and how they are made.
#pragma once

#include "rows.h"

namespace paligemma {
namespace PALIGEMMA_ISA {
namespace {

// As far ahead as in gemv.h, in time: packed numbers come in fewer bytes.
constexpr int64_t kPackedAhead = 2048;

// A code of 8 bit counts 127ths of the largest weight of its row.
constexpr float kPerCode = 1.f / 127;

typedef int8_t SmallInts __attribute__((vector_size(PALIGEMMA_LANES)));

// The compilers' own conversion of so many bytes goes one by one.
PALIGEMMA_INLINE Floats widenInt8(const uint8_t* p) {
#if PALIGEMMA_LANES == 16 && defined(__AVX512F__)
  const __m512i wide = _mm512_cvtepi8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
  return __builtin_convertvector(loadAs<Ints>(&wide), Floats);
#elif PALIGEMMA_LANES == 8 && defined(__AVX2__)
  const __m256i wide = _mm256_cvtepi8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p)));
  return __builtin_convertvector(loadAs<Ints>(&wide), Floats);
#else
  return __builtin_convertvector(__builtin_convertvector(loadAs<SmallInts>(p), Ints), Floats);
#endif
}

// The nearest number of a type, ties to even. Weights are finite.
PALIGEMMA_INLINE Floats roundTo(Dtype dtype, Floats v) {
  if (dtype == Dtype::kBFloat16) {
    const Words bits = asWords(v);
    return asFloats((bits + 0x7fffu + (bits >> 16 & 1u)) & 0xffff0000u);
  }
  if (dtype == Dtype::kFloat16) {
    // Adding and taking away 2¹³ times the number's power of two leaves 11 bits of it; subnormal ones are counts of 2⁻²⁴.
    const Words magnitude = asWords(v) & 0x7fffffffu, sign = asWords(v) & 0x80000000u;
    const Floats a = asFloats(magnitude), power = asFloats((magnitude & 0x7f800000u) + (13u << 23));
    const Floats floor = splat(0x1p-1f), shift = power > floor ? power : floor;
    const Floats rounded = (a + shift) - shift;
    return asFloats(asWords(rounded < 65520.f ? rounded : splat(__builtin_inff())) | sign);
  }
  return v;
}

// The sixteen weights of one block, by code.
struct BlockTable {
  float values[16];
  PALIGEMMA_INLINE void fill(const Matrix& w, int64_t block) {
    const Floats scale = splat(w.scales[block]);
#pragma GCC unroll 4
    for (int i = 0; i < 16; i += kLanes) store(values + i, roundTo(w.rounding, load(w.codebook + i) * scale));
  }
};

#if PALIGEMMA_LANES == 16 && !defined(__clang__)
// kLanes codes from kLanes / 2 bytes: each byte becomes a pair of words, its high half first.
PALIGEMMA_INLINE Ints unpackCodes(const uint8_t* p) {
  const __m512i bytes = _mm512_cvtepu8_epi64(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p)));
  const __m512i both = _mm512_or_si512(_mm512_srli_epi64(bytes, 4), _mm512_slli_epi64(bytes, 32));
  const __m512i codes = _mm512_and_si512(both, _mm512_set1_epi64(0x0000000f0000000fLL));
  return loadAs<Ints>(&codes);
}
PALIGEMMA_INLINE Floats lookUp(const BlockTable& table, Ints codes) {
  return __builtin_shuffle(load(table.values), codes);
}
#else
PALIGEMMA_INLINE Ints unpackCodes(const uint8_t* p) {
  Ints codes;
#pragma GCC unroll 8
  for (int i = 0; i < kLanes / 2; i++) {
    codes[2 * i] = p[i] >> 4;
    codes[2 * i + 1] = p[i] & 15;
  }
  return codes;
}
#if PALIGEMMA_LANES == 8 && !defined(__clang__)
PALIGEMMA_INLINE Floats lookUp(const BlockTable& table, Ints codes) {
  return __builtin_shuffle(load(table.values), load(table.values + 8), codes);
}
#else
PALIGEMMA_INLINE Floats lookUp(const BlockTable& table, Ints codes) {
  Floats v;
#pragma GCC unroll 16
  for (int i = 0; i < kLanes; i++) v[i] = table.values[codes[i]];
  return v;
}
#endif
#endif

// Whether each vector of a row, counted from its start, lies in one block and begins with a byte.
inline bool inStep(const Matrix& w) { return w.cols % kLanes == 0 && (int64_t{1} << w.blockShift) >= kLanes; }

// One weight of 4 bit.
inline float codeAt(const Matrix& w, int64_t index) {
  const uint8_t byte = static_cast<const uint8_t*>(w.data)[index >> 1];
  const float one = w.codebook[index & 1 ? byte & 15 : byte >> 4] * w.scales[index >> w.blockShift];
  return roundTo(w.rounding, splat(one))[0];
}

// out[i] = the weight at (row, column + i), i < count; of int8 without its scale.
inline void unpackRow(const Matrix& w, int64_t row, int64_t column, int64_t count, float* out) {
  const int64_t start = row * w.cols + column;
  int64_t i = 0;
  if (w.dtype == Dtype::kInt8) {
    const uint8_t* from = static_cast<const uint8_t*>(w.data) + start;
    for (; i + kLanes <= count; i += kLanes) store(out + i, widenInt8(from + i));
    for (; i < count; i++) out[i] = static_cast<int8_t>(from[i]);
    return;
  }
  if (inStep(w) && column % kLanes == 0) {
    BlockTable table;
    for (int64_t block = -1; i + kLanes <= count; i += kLanes) {
      if ((start + i) >> w.blockShift != block) table.fill(w, block = (start + i) >> w.blockShift);
      store(out + i, lookUp(table, unpackCodes(static_cast<const uint8_t*>(w.data) + ((start + i) >> 1))));
    }
  }
  for (; i < count; i++) out[i] = codeAt(w, start + i);
}

// y = the row of any matrix times `scale`.
inline void readRow(const Matrix& w, int64_t row, float scale, float* y) {
  if (w.packed()) {
    unpackRow(w, row, 0, w.cols, y);
    if (w.dtype != Dtype::kInt8) return mapRow(w.cols, y, [=](int64_t i, auto read) { return read(y + i) * scale; });
    // In the order of bitsandbytes: each product is rounded.
    const float largest = w.scales[row];
    return mapRow(w.cols, y, [=](int64_t i, auto read) { return read(y + i) * largest * kPerCode * scale; });
  }
  withWeights(w.dtype, [&](auto weights) {
    using Weights = decltype(weights);
    widenRow<Weights>(static_cast<const uint8_t*>(w.data) + row * w.rowBytes(), w.cols, scale, y);
  });
}

void embed(Pool& pool, const int32_t* ids, int64_t count, const Matrix& table, float scale, float* y) {
  forPieces(pool, count, table.cols, [=](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; i++) readRow(table, ids[i], scale, y + i * table.cols);
  });
}

void widen(Pool& pool, const Matrix& w, float* y) {
  forPieces(pool, w.rows, w.cols, [=](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; row++) readRow(w, row, 1.f, y + row * w.cols);
  });
}

// out[i] = x[i]·w for M rows of x: one row of a packed matrix.
template <int M>
PALIGEMMA_INLINE void packedDots(const float* x, const Matrix& w, int64_t row, float* out) {
  constexpr int kChains = M >= 4 ? 1 : 4 / M;  // independent sums, which hide the latency of the addition
  const int64_t k = w.cols, start = row * k;
  const uint8_t* data = static_cast<const uint8_t*>(w.data);
  Floats total[M][kChains] = {};
  int64_t at = 0;
  if (w.dtype == Dtype::kInt8) {
    for (; at + kLanes * kChains <= k; at += kLanes * kChains) {
      __builtin_prefetch(data + start + at + kPackedAhead);
#pragma GCC unroll 4
      for (int c = 0; c < kChains; c++) {
        const Floats wide = widenInt8(data + start + at + c * kLanes);
#pragma GCC unroll 8
        for (int i = 0; i < M; i++) total[i][c] += wide * load(x + i * k + at + c * kLanes);
      }
    }
  } else if (inStep(w)) {
    BlockTable table;
    while (at < k) {
      const int64_t block = (start + at) >> w.blockShift;
      const int64_t end = least(k, ((block + 1) << w.blockShift) - start);
      table.fill(w, block);
      __builtin_prefetch(data + ((start + at) >> 1) + kPackedAhead);
      for (; at + kLanes * kChains <= end; at += kLanes * kChains) {
#pragma GCC unroll 4
        for (int c = 0; c < kChains; c++) {
          const Floats wide = lookUp(table, unpackCodes(data + ((start + at + c * kLanes) >> 1)));
#pragma GCC unroll 8
          for (int i = 0; i < M; i++) total[i][c] += wide * load(x + i * k + at + c * kLanes);
        }
      }
      for (; at < end; at += kLanes) {
        const Floats wide = lookUp(table, unpackCodes(data + ((start + at) >> 1)));
#pragma GCC unroll 8
        for (int i = 0; i < M; i++) total[i][0] += wide * load(x + i * k + at);
      }
    }
  }
  float rest[M] = {};
  for (; at < k; at++) {
    const float one = w.dtype == Dtype::kInt8 ? static_cast<int8_t>(data[start + at]) : codeAt(w, start + at);
#pragma GCC unroll 8
    for (int i = 0; i < M; i++) rest[i] += one * x[i * k + at];
  }
  const float scale = w.dtype == Dtype::kInt8 ? w.scales[row] * kPerCode : 1.f;
#pragma GCC unroll 8
  for (int i = 0; i < M; i++) {
#pragma GCC unroll 4
    for (int c = 1; c < kChains; c++) total[i][0] += total[i][c];
    out[i] = (sum(total[i][0]) + rest[i]) * scale;
  }
}

template <typename Weights>
PALIGEMMA_INLINE Floats magnitude(const uint8_t* x, int64_t count) {
  const Floats v = Weights::loadSome(x, count);
  return asFloats(asWords(v) & 0x7fffffffu);
}

template <typename Weights>
PALIGEMMA_INLINE float largestOf(const uint8_t* x, int64_t n) {
  Floats most = {};
  for (int64_t i = 0; i < n; i += kLanes) most = larger(magnitude<Weights>(x + i * Weights::kBytes, n - i), most);
  float best = 0;
  for (int i = 0; i < kLanes; i++) best = most[i] > best ? most[i] : best;
  return best;
}

void quantise4(const void* x, Dtype dtype, int64_t n, const float* midpoints, const uint8_t* codes, uint8_t* y,
               float* scales) {
  withWeights(dtype, [&](auto weights) {
    using Weights = decltype(weights);
    const uint8_t* data = static_cast<const uint8_t*>(x);
    constexpr int64_t kBlock = 64;
    for (int64_t begin = 0; begin < n; begin += kBlock) {
      const int64_t count = least(kBlock, n - begin);
      const float scale = largestOf<Weights>(data + begin * Weights::kBytes, count);
      scales[begin / kBlock] = scale;
      const Floats inverse = splat(scale > 0 ? 1.f / scale : 0.f);
      uint8_t ranks[kBlock] = {};
      for (int64_t i = 0; i < count; i += kLanes) {
        const uint8_t* from = data + (begin + i) * Weights::kBytes;
        const Floats v = Weights::loadSome(from, count - i) * inverse;
        Ints rank = {};
#pragma GCC unroll 15
        for (int m = 0; m < 15; m++) rank -= v > splat(midpoints[m]);
        for (int lane = 0; lane < kLanes; lane++) ranks[i + lane] = static_cast<uint8_t>(rank[lane]);
      }
      for (int64_t i = 0; i < count; i += 2) {
        const int low = i + 1 < count ? codes[ranks[i + 1]] : 0;
        y[(begin + i) / 2] = static_cast<uint8_t>(codes[ranks[i]] << 4 | low);
      }
    }
  });
}

void quantise8(const void* x, Dtype dtype, int64_t rows, int64_t cols, int8_t* y, float* scales) {
  withWeights(dtype, [&](auto weights) {
    using Weights = decltype(weights);
    for (int64_t row = 0; row < rows; row++) {
      const uint8_t* data = static_cast<const uint8_t*>(x) + row * cols * Weights::kBytes;
      const float most = largestOf<Weights>(data, cols);
      scales[row] = most;
      const Floats inverse = splat(most > 0 ? 127.f / most : 0.f), shift = splat(0x1.8p23f);
      for (int64_t i = 0; i < cols; i += kLanes) {
        const uint8_t* from = data + i * Weights::kBytes;
        const Floats v = Weights::loadSome(from, cols - i);
        const Floats whole = (v * inverse + shift) - shift;  // adding it rounds to an integer
        for (int64_t lane = 0; lane < least(kLanes, cols - i); lane++) {
          y[row * cols + i + lane] = static_cast<int8_t>(whole[lane]);
        }
      }
    }
  });
}

}  // namespace
}  // namespace PALIGEMMA_ISA
}  // namespace paligemma
