// Products of a matrix with few rows, which cost one pass over the matrix in memory.
#pragma once

#include "packed.h"
#include "scratch.h"

namespace paligemma {
namespace PALIGEMMA_ISA {
namespace {

// Above this many rows the blocked product is faster.
constexpr int64_t kFewRows = 8;

// Rows of the matrix whose results are gathered before bias and activation.
constexpr int64_t kGathered = 64;

// The hardware's prefetchers stop at the end of a page of 4 KiB, less than a row; this far ahead covers DRAM's latency.
constexpr int64_t kAhead = 4096;

// out[i] = x[i]·w for M rows of x.
template <typename Weights, int M>
PALIGEMMA_INLINE void dots(const float* x, int64_t k, const uint8_t* w, float* out) {
  constexpr int kChains = M >= 4 ? 1 : 4 / M;  // independent sums, which hide the latency of the addition
  constexpr int64_t kStep = kLanes * kChains;
  Floats total[M][kChains] = {};
  int64_t at = 0;
  for (; at + kStep <= k; at += kStep) {
    for (int64_t line = 0; line < kStep * Weights::kBytes; line += 64) {
      __builtin_prefetch(w + at * Weights::kBytes + line + kAhead);
    }
#pragma GCC unroll 4
    for (int c = 0; c < kChains; c++) {
      const Floats wide = Weights::load(w + (at + c * kLanes) * Weights::kBytes);
#pragma GCC unroll 8
      for (int i = 0; i < M; i++) total[i][c] += wide * load(x + i * k + at + c * kLanes);
    }
  }
  for (; at < k; at += kLanes) {
    const int64_t count = least(kLanes, k - at);
    const Floats wide = Weights::loadSome(w + at * Weights::kBytes, count);
#pragma GCC unroll 8
    for (int i = 0; i < M; i++) total[i][0] += wide * loadSome<Floats>(x + i * k + at, count);
  }
#pragma GCC unroll 8
  for (int i = 0; i < M; i++) {
#pragma GCC unroll 4
    for (int c = 1; c < kChains; c++) total[i][0] += total[i][c];
    out[i] = sum(total[i][0]);
  }
}

// parts[i][r] = x[i]·w[begin + r] for up to kGathered rows of the matrix.
template <typename Weights, int M>
void dotRows(const float* x, const Matrix& w, int64_t begin, int64_t end, float (*parts)[kGathered]) {
  const uint8_t* data = static_cast<const uint8_t*>(w.data);
  for (int64_t row = begin; row < end; row++) {
    float out[M];
    dots<Weights, M>(x, w.cols, data + row * w.cols * Weights::kBytes, out);
    for (int i = 0; i < M; i++) parts[i][row - begin] = out[i];
  }
}

template <int M>
void packedDotRows(const float* x, const Matrix& w, int64_t begin, int64_t end, float (*parts)[kGathered]) {
  for (int64_t row = begin; row < end; row++) {
    float out[M];
    packedDots<M>(x, w, row, out);
    for (int i = 0; i < M; i++) parts[i][row - begin] = out[i];
  }
}

using DotRows = void (*)(const float*, const Matrix&, int64_t, int64_t, float (*)[kGathered]);

// The instance of dotRows for a matrix and a number of rows.
inline DotRows dotRowsFor(const Matrix& w, int64_t m) {
  static constexpr DotRows kPacked[kFewRows] = {packedDotRows<1>, packedDotRows<2>, packedDotRows<3>, packedDotRows<4>,
                                                packedDotRows<5>, packedDotRows<6>, packedDotRows<7>, packedDotRows<8>};
  if (w.packed()) return kPacked[m - 1];
  DotRows found = nullptr;
  withWeights(w.dtype, [&](auto weights) {
    using W = decltype(weights);
    static constexpr DotRows kByRows[kFewRows] = {dotRows<W, 1>, dotRows<W, 2>, dotRows<W, 3>, dotRows<W, 4>,
                                                  dotRows<W, 5>, dotRows<W, 6>, dotRows<W, 7>, dotRows<W, 8>};
    found = kByRows[m - 1];
  });
  return found;
}

// Calls body(begin, end) for pieces of the rows of a matrix, some 256 KiB each but at least a few for each thread.
template <typename Body>
void forMatrixRows(Pool& pool, const Matrix& w, const Body& body) {
  const int64_t rowBytes = most(1, w.rowBytes());
  if (w.rows * rowBytes <= kGrain) return body(int64_t{0}, w.rows);
  const int64_t fair = ceilDiv(w.rows, int64_t{4} * pool.threads());
  const int64_t piece = most(1, least(fair, (int64_t{256} << 10) / rowBytes));
  pool.run(ceilDiv(w.rows, piece), [&](int64_t task, int) { body(task * piece, least(w.rows, (task + 1) * piece)); });
}

PALIGEMMA_INLINE Floats activate(Activation activation, Floats v) {
  return activation == Activation::kGeluTanh ? geluTanh(v) : v;
}

void linearFew(Pool& pool, const float* x, int64_t m, const Product& product, Activation activation) {
  const Matrix& w = product.w;
  const float* bias = product.bias;
  const DotRows run = dotRowsFor(w, m);
  forMatrixRows(pool, w, [&](int64_t first, int64_t last) {
    float parts[kFewRows][kGathered];
    for (int64_t begin = first; begin < last; begin += kGathered) {
      const int64_t end = least(last, begin + kGathered);
      run(x, w, begin, end, parts);
      for (int64_t i = 0; i < m; i++) {
        mapRow(end - begin, product.y + i * w.rows + begin, [&](int64_t r, auto read) {
          return activate(activation, bias ? read(parts[i] + r) + read(bias + begin + r) : read(parts[i] + r));
        });
      }
    }
  });
}

// hidden = gelu(gate(x)) · up(x), both matrices in one pass.
void gateFew(Pool& pool, const float* x, int64_t m, const Matrix& gate, const Matrix& up, float* hidden) {
  const DotRows runGate = dotRowsFor(gate, m), runUp = dotRowsFor(up, m);
  forMatrixRows(pool, gate, [&](int64_t first, int64_t last) {
    float gates[kFewRows][kGathered], ups[kFewRows][kGathered];
    for (int64_t begin = first; begin < last; begin += kGathered) {
      const int64_t end = least(last, begin + kGathered);
      runGate(x, gate, begin, end, gates);
      runUp(x, up, begin, end, ups);
      for (int64_t i = 0; i < m; i++) {
        mapRow(end - begin, hidden + i * gate.rows + begin,
               [&](int64_t r, auto read) { return geluTanh(read(gates[i] + r)) * read(ups[i] + r); });
      }
    }
  });
}

}  // namespace
}  // namespace PALIGEMMA_ISA
}  // namespace paligemma
