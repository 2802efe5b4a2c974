// Kernels that treat rows or elements one by one: norms, rotary embedding, gather, element-wise.
#pragma once

#include "vector.h"

namespace paligemma {
namespace PALIGEMMA_ISA {
namespace {

// Below this many elements, waking the helpers costs more than they bring.
constexpr int64_t kGrain = 16384;

// Calls body(begin, end) for pieces of [0, n) of about kGrain elements, `width` elements an item.
template <typename Body>
void forPieces(Pool& pool, int64_t n, int64_t width, const Body& body) {
  const int64_t grain = most(1, kGrain / width);
  if (n <= grain) return body(int64_t{0}, n);
  pool.run(ceilDiv(n, grain), [&](int64_t task, int) { body(task * grain, least(n, (task + 1) * grain)); });
}

// y[i] = body(i, load), where load(p) reads the vector of p that belongs to i, and zeros behind the end.
template <typename Body>
PALIGEMMA_INLINE void mapRow(int64_t n, float* y, const Body& body) {
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) store(y + i, body(i, [](const float* p) { return load(p); }));
  if (i < n) {
    const int64_t count = n - i;
    storeSome(y + i, body(i, [count](const float* p) { return loadSome<Floats>(p, count); }), count);
  }
}

// Σ (x - mean)² or, with `squared` unset, Σ x.
template <bool squared>
PALIGEMMA_INLINE float sumRow(const float* x, int64_t n, float mean) {
  Floats total[4] = {};
  const auto term = [mean](Floats v) { return squared ? (v - mean) * (v - mean) : v; };
  int64_t i = 0;
  for (; i + 4 * kLanes <= n; i += 4 * kLanes) {
    for (int j = 0; j < 4; j++) total[j] += term(load(x + i + j * kLanes));
  }
  for (; i + kLanes <= n; i += kLanes) total[0] += term(load(x + i));
  float rest = 0;
  for (; i < n; i++) rest += squared ? (x[i] - mean) * (x[i] - mean) : x[i];
  return sum((total[0] + total[1]) + (total[2] + total[3])) + rest;
}

void rmsNorm(Pool& pool, const float* x, int64_t m, int64_t d, const float* weight, float eps, float* y) {
  forPieces(pool, m, d, [=](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; row++) {
      const float* from = x + row * d;
      const float scale = 1.f / __builtin_sqrtf(sumRow<true>(from, d, 0.f) / d + eps);
      mapRow(d, y + row * d, [=](int64_t i, auto read) { return read(from + i) * scale * (1.f + read(weight + i)); });
    }
  });
}

void layerNorm(Pool& pool, const float* x, int64_t m, int64_t d, const float* weight, const float* bias, float eps,
               float* y) {
  forPieces(pool, m, d, [=](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; row++) {
      const float* from = x + row * d;
      const float mean = sumRow<false>(from, d, 0.f) / d;
      const float scale = 1.f / __builtin_sqrtf(sumRow<true>(from, d, mean) / d + eps);
      mapRow(d, y + row * d,
             [=](int64_t i, auto read) { return (read(from + i) - mean) * scale * read(weight + i) + read(bias + i); });
    }
  });
}

void rope(Pool& pool, const float* x, int64_t m, int64_t heads, int64_t h, const float* cos, const float* sin,
          float* y) {
  const int64_t half = h / 2;
  forPieces(pool, m * heads, h, [=](int64_t begin, int64_t end) {
    for (int64_t head = begin; head < end; head++) {
      const float *low = x + head * h, *high = low + half;
      const float *c = cos + head / heads * h, *s = sin + head / heads * h;
      mapRow(half, y + head * h,
             [=](int64_t i, auto read) { return read(low + i) * read(c + i) - read(high + i) * read(s + i); });
      mapRow(half, y + head * h + half, [=](int64_t i, auto read) {
        return read(high + i) * read(c + half + i) + read(low + i) * read(s + half + i);
      });
    }
  });
}

// y = x · scale for n stored elements.
template <typename Weights>
PALIGEMMA_INLINE void widenRow(const uint8_t* x, int64_t n, float scale, float* y) {
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) store(y + i, Weights::load(x + i * Weights::kBytes) * scale);
  if (i < n) storeSome(y + i, Weights::loadSome(x + i * Weights::kBytes, n - i) * scale, n - i);
}

void embed(Pool& pool, const int32_t* ids, int64_t count, const Matrix& table, float scale, float* y) {
  const uint8_t* data = static_cast<const uint8_t*>(table.data);
  const int64_t d = table.cols;
  withWeights(table.dtype, [&](auto weights) {
    using Weights = decltype(weights);
    forPieces(pool, count, d, [=](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; i++) {
        widenRow<Weights>(data + int64_t{ids[i]} * d * Weights::kBytes, d, scale, y + i * d);
      }
    });
  });
}

void widen(Pool& pool, const void* x, Dtype dtype, int64_t n, float* y) {
  const uint8_t* data = static_cast<const uint8_t*>(x);
  withWeights(dtype, [&](auto weights) {
    using Weights = decltype(weights);
    forPieces(pool, n, 1, [=](int64_t begin, int64_t end) {
      widenRow<Weights>(data + begin * Weights::kBytes, end - begin, 1.f, y + begin);
    });
  });
}

void add(Pool& pool, const float* a, const float* b, int64_t n, float* y) {
  forPieces(pool, n, 1, [=](int64_t begin, int64_t end) {
    mapRow(end - begin, y + begin, [=](int64_t i, auto read) { return read(a + begin + i) + read(b + begin + i); });
  });
}

void softcap(Pool& pool, const float* x, int64_t n, float cap, float* y) {
  forPieces(pool, n, 1, [=](int64_t begin, int64_t end) {
    mapRow(end - begin, y + begin, [=](int64_t i, auto read) { return cap * tanh(read(x + begin + i) / cap); });
  });
}

}  // namespace
}  // namespace PALIGEMMA_ISA
}  // namespace paligemma
