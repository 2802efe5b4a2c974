// Products of a matrix with many rows: blocked, in float32.
#pragma once

#include "gemv.h"

namespace paligemma {
namespace PALIGEMMA_ISA {
namespace {

// The register tile: kTileRows rows of x by two vectors of outputs. It leaves room for two vectors of weights and a
// broadcast among the 32 registers of AVX-512, or the 16 of AVX2 and SSE.
constexpr int kTileRows = kLanes == 16 ? 14 : kLanes == 8 ? 6 : 4;
constexpr int kPanel = 2 * kLanes;
// Depth of a block: a panel of it, 32 KiB at the most, stays in the first cache.
constexpr int64_t kDepth = 256;
// Outputs that one task computes, as panels: the block of x is read from the second cache once for each.
constexpr int64_t kTaskPanels = 4;
// Rows of x that are packed at a time.
constexpr int64_t kBlockRows = 36 * 14;

// packed[tile][k][i] = x[tile · kTileRows + i][k], zeros behind the last row.
void packTile(const float* x, int64_t rows, int64_t k, float* packed) {
  for (int64_t i = 0; i < kTileRows; i++) {
    if (i < rows) {
      for (int64_t at = 0; at < k; at++) packed[at * kTileRows + i] = x[i * k + at];
    } else {
      for (int64_t at = 0; at < k; at++) packed[at * kTileRows + i] = 0;
    }
  }
}

// panel[k][n] = w[row + n][from + k] in float32, zeros behind the last row.
template <typename Weights>
void packPanel(const Matrix& w, int64_t row, int64_t from, int64_t depth, float* panel) {
  const uint8_t* data = static_cast<const uint8_t*>(w.data);
  for (int half = 0; half < 2; half++) {
    for (int64_t at = 0; at < depth; at += kLanes) {
      const int64_t count = least(kLanes, depth - at);
      Floats block[kLanes];
#pragma GCC unroll 16
      for (int i = 0; i < kLanes; i++) {
        const int64_t n = row + half * kLanes + i;
        const uint8_t* p = data + (n * w.cols + from + at) * Weights::kBytes;
        block[i] = n >= w.rows ? Floats{} : count == kLanes ? Weights::load(p) : Weights::loadSome(p, count);
      }
      transpose(block);
#pragma GCC unroll 16
      for (int i = 0; i < kLanes; i++) {
        if (i < count) store(panel + (at + i) * kPanel + half * kLanes, block[i]);
      }
    }
  }
}

// What becomes of a tile's sums.
struct Output {
  float* y;
  int64_t stride;    // of y
  const float* bias;  // or null
  Activation activation;
  bool first;  // of the blocks along k: y holds no sums yet
  bool last;
};

// Adds the tile's sums to y[0 .. rows)[0 .. cols).
void finishTile(const Floats (*sums)[2], int64_t rows, int64_t cols, const Output& out) {
  for (int64_t i = 0; i < least(rows, kTileRows); i++) {
    for (int64_t n = 0; n < least(cols, kPanel); n += kLanes) {
      const int64_t count = least(kLanes, cols - n);
      float* y = out.y + i * out.stride + n;
      const auto read = [count](const float* p) { return count == kLanes ? load(p) : loadSome<Floats>(p, count); };
      Floats v = sums[i][n / kLanes];
      if (!out.first) v += read(y);
      if (out.last && out.bias) v += read(out.bias + n);
      if (out.last) v = activate(out.activation, v);
      storeSome(y, v, count);
    }
  }
}

// sums[i][n] = Σₖ x[k][i] · panel[k][n] over the depth of a block.
void multiplyTile(const float* x, const float* panel, int64_t depth, int64_t rows, int64_t cols, const Output& out) {
  Floats sums[kTileRows][2] = {};
  for (int64_t at = 0; at < depth; at++) {
    const Floats low = load(panel + at * kPanel), high = load(panel + at * kPanel + kLanes);
#pragma GCC unroll 14
    for (int i = 0; i < kTileRows; i++) {
      const Floats one = splat(x[at * kTileRows + i]);
      sums[i][0] += one * low;
      sums[i][1] += one * high;
    }
  }
  Floats stored[kTileRows][2];  // apart from `sums`, which thus stay in registers
#pragma GCC unroll 14
  for (int i = 0; i < kTileRows; i++) {
    stored[i][0] = sums[i][0];
    stored[i][1] = sums[i][1];
  }
  finishTile(stored, rows, cols, out);
}

// The outputs [begin, end) of up to kBlockRows packed rows.
template <typename Weights>
void multiplyPanels(const float* packed, int64_t m, const Matrix& w, int64_t begin, int64_t end, const float* bias,
                    Activation activation, float* y, float* panel) {
  const int64_t k = w.cols;
  for (int64_t from = 0; from == 0 || from < k; from += kDepth) {
    const int64_t depth = least(kDepth, k - from);
    for (int64_t n = begin; n < end; n += kPanel) {
      packPanel<Weights>(w, n, from, depth, panel);
      for (int64_t row = 0; row < m; row += kTileRows) {
        const Output out = {y + row * w.rows + n, w.rows, bias ? bias + n : nullptr, activation, from == 0,
                            from + depth == k};
        multiplyTile(packed + row * k + from * kTileRows, panel, depth, m - row, end - n, out);
      }
    }
  }
}

Scratch packedRows;

void linearMany(Pool& pool, const float* x, int64_t m, const Matrix& w, const float* bias, Activation activation,
                float* y) {
  const int64_t k = w.cols, tiles = ceilDiv(m, kTileRows), perTask = kTaskPanels * kPanel;
  float* packed = reinterpret_cast<float*>(
      packedRows.need((tiles * kTileRows * k + pool.threads() * kPanel * kDepth) * int64_t{sizeof(float)}));
  float* panels = packed + tiles * kTileRows * k;
  pool.run(tiles, [&](int64_t tile, int) {
    const int64_t row = tile * kTileRows;
    packTile(x + row * k, m - row, k, packed + row * k);
  });
  withWeights(w.dtype, [&](auto weights) {
    using Weights = decltype(weights);
    pool.run(ceilDiv(w.rows, perTask), [&](int64_t task, int thread) {
      multiplyPanels<Weights>(packed, m, w, task * perTask, least(w.rows, (task + 1) * perTask), bias, activation, y,
                              panels + int64_t{thread} * kPanel * kDepth);
    });
  });
  packedRows.trim();
}

void linear(Pool& pool, const float* x, int64_t m, const Matrix& w, const float* bias, Activation activation, bool,
            float* y) {
  if (m <= 0) return;
  if (m <= kFewRows) return linearFew(pool, x, m, w, bias, activation, y);
  const int64_t blocks = ceilDiv(m, kBlockRows), rows = roundUp(ceilDiv(m, blocks), kTileRows);
  for (int64_t row = 0; row < m; row += rows) {
    linearMany(pool, x + row * w.cols, least(rows, m - row), w, bias, activation, y + row * w.rows);
  }
}

Scratch hiddenRows;

void gatedMlp(Pool& pool, const float* x, int64_t m, const Matrix& gate, const Matrix& up, const Matrix& down,
              bool, float* y) {
  if (m <= 0) return;
  const bool few = m <= kFewRows;
  const int64_t blocks = ceilDiv(m, kBlockRows), rows = roundUp(ceilDiv(m, blocks), kTileRows), size = rows * gate.rows;
  float* hidden = reinterpret_cast<float*>(hiddenRows.need((few ? 1 : 2) * size * int64_t{sizeof(float)}));
  for (int64_t row = 0; row < m; row += rows) {
    const int64_t count = least(rows, m - row);
    const float* from = x + row * gate.cols;
    if (few) {
      gateFew(pool, from, count, gate, up, hidden);
    } else {
      float* ups = hidden + size;
      linear(pool, from, count, gate, nullptr, Activation::kGeluTanh, false, hidden);
      linear(pool, from, count, up, nullptr, Activation::kNone, false, ups);
      forPieces(pool, count * gate.rows, 1, [=](int64_t begin, int64_t end) {
        mapRow(end - begin, hidden + begin,
               [=](int64_t i, auto read) { return read(hidden + begin + i) * read(ups + begin + i); });
      });
    }
    linear(pool, hidden, count, down, nullptr, Activation::kNone, false, y + row * down.rows);
  }
  hiddenRows.trim();
}

}  // namespace
}  // namespace PALIGEMMA_ISA
}  // namespace paligemma
