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

// Not inlined: a step on its own and the whole norm must not be compiled into different roundings.
__attribute__((noinline)) float rmsDivisor(const float* x, int64_t d, float eps) {
  return __builtin_sqrtf(sumRow<true>(x, d, 0.f) / d + eps);
}

__attribute__((noinline)) void scaleRow(const float* x, int64_t d, float divisor, const float* weight, float* y) {
  const float inverse = 1.f / divisor;
  mapRow(d, y, [=](int64_t i, auto read) { return read(x + i) * inverse * (1.f + read(weight + i)); });
}

void rmsNorm(Pool& pool, const float* x, int64_t m, int64_t d, const float* weight, float eps, float* y) {
  forPieces(pool, m, d, [=](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; row++) {
      const float* from = x + row * d;
      scaleRow(from, d, rmsDivisor(from, d, eps), weight, y + row * d);
    }
  });
}

void rmsScale(Pool& pool, const float* x, int64_t m, int64_t d, float eps, float* scale) {
  forPieces(pool, m, d, [=](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; row++) scale[row] = rmsDivisor(x + row * d, d, eps);
  });
}

void rmsScaled(Pool& pool, const float* x, int64_t m, int64_t d, const float* scale, const float* weight, float* y) {
  forPieces(pool, m, d, [=](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; row++) scaleRow(x + row * d, d, scale[row], weight, y + row * d);
  });
}

__attribute__((noinline)) float meanOf(const float* x, int64_t d) { return sumRow<false>(x, d, 0.f) / d; }

__attribute__((noinline)) float layerDivisor(const float* x, int64_t d, float mean, float eps) {
  return __builtin_sqrtf(sumRow<true>(x, d, mean) / d + eps);
}

__attribute__((noinline)) void centreRow(const float* x, int64_t d, float mean, float divisor, const float* weight,
                                         const float* bias, float* y) {
  const float inverse = 1.f / divisor;
  mapRow(d, y, [=](int64_t i, auto read) { return (read(x + i) - mean) * inverse * read(weight + i) + read(bias + i); });
}

void layerNorm(Pool& pool, const float* x, int64_t m, int64_t d, const float* weight, const float* bias, float eps,
               float* y) {
  forPieces(pool, m, d, [=](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; row++) {
      const float* from = x + row * d;
      const float mean = meanOf(from, d);
      centreRow(from, d, mean, layerDivisor(from, d, mean, eps), weight, bias, y + row * d);
    }
  });
}

void layerScale(Pool& pool, const float* x, int64_t m, int64_t d, float eps, float* scale) {
  forPieces(pool, m, d, [=](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; row++) {
      scale[row] = layerDivisor(x + row * d, d, meanOf(x + row * d, d), eps);
    }
  });
}

void layerScaled(Pool& pool, const float* x, int64_t m, int64_t d, const float* scale, const float* weight,
                 const float* bias, float* y) {
  forPieces(pool, m, d, [=](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; row++) {
      const float* from = x + row * d;
      centreRow(from, d, meanOf(from, d), scale[row], weight, bias, y + row * d);
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

void add(Pool& pool, const float* a, const float* b, int64_t n, float* y) {
  forPieces(pool, n, 1, [=](int64_t begin, int64_t end) {
    mapRow(end - begin, y + begin, [=](int64_t i, auto read) { return read(a + begin + i) + read(b + begin + i); });
  });
}

void gelu(Pool& pool, const float* x, int64_t n, float* y) {
  forPieces(pool, n, 1, [=](int64_t begin, int64_t end) {
    mapRow(end - begin, y + begin, [=](int64_t i, auto read) { return geluTanh(read(x + begin + i)); });
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
