// Products of a matrix with many rows: blocked, added in float32.
#pragma once

#include "gemv.h"

namespace paligemma {
namespace PALIGEMMA_ISA {
namespace {

// The register tile: kTileRows rows of x by two vectors of outputs. It leaves room for two vectors of weights and a
// broadcast among the 32 registers of AVX-512, or the 16 of AVX2 and SSE.
constexpr int kTileRows = kLanes == 16 ? 14 : kLanes == 8 ? 6 : 4;
constexpr int kPanel = 2 * kLanes;
// Words of a block along k: a panel of it, 32 KiB at the most, stays in the first cache.
constexpr int64_t kDepth = 256;
// Outputs that one task computes, as panels: the block of x is read from the second cache once for each.
constexpr int64_t kTaskPanels = 4;
// Tasks for each thread, at the least: one more or less should not be felt.
constexpr int64_t kFairTasks = 6;
// Rows of x that are packed at a time.
constexpr int64_t kBlockRows = 36 * 14;

// How numbers are multiplied. Operands are packed as words of 32 bits; kPerWord neighbours along k make one. `x` and `w`
// read kLanes words, or `count` numbers with zeros behind.
template <typename Weights>
struct Exact {
  static constexpr int64_t kPerWord = 1, kBytes = Weights::kBytes;
  static PALIGEMMA_INLINE Floats x(const float* p) { return load(p); }
  static PALIGEMMA_INLINE Floats x(const float* p, int64_t count) { return loadSome<Floats>(p, count); }
  static PALIGEMMA_INLINE Floats w(const uint8_t* p) { return Weights::load(p); }
  static PALIGEMMA_INLINE Floats w(const uint8_t* p, int64_t count) { return Weights::loadSome(p, count); }
  static PALIGEMMA_INLINE Floats add(Floats sum, float x, Floats w) { return sum + x * w; }
};

#if defined(__AVX512BF16__) && PALIGEMMA_LANES == 16
constexpr bool kMultipliesPairs = true;

// Pairs of bfloat16, to which x is rounded; numbers below 2⁻¹²⁶ count as zero. Twice the products of `Exact` at a time.
struct Pairs {
  static constexpr int64_t kPerWord = 2, kBytes = 2;
  static PALIGEMMA_INLINE Floats round(Floats low, Floats high) {
    const auto both = _mm512_cvtne2ps_pbh(loadAs<__m512>(&high), loadAs<__m512>(&low));
    return loadAs<Floats>(&both);
  }
  static PALIGEMMA_INLINE Floats x(const float* p) { return round(load(p), load(p + kLanes)); }
  static PALIGEMMA_INLINE Floats x(const float* p, int64_t count) {
    const int64_t high = count - kLanes;
    return high > 0 ? round(load(p), loadSome<Floats>(p + kLanes, high)) : round(loadSome<Floats>(p, count), Floats{});
  }
  static PALIGEMMA_INLINE Floats w(const uint8_t* p) { return loadAs<Floats>(p); }
  static PALIGEMMA_INLINE Floats w(const uint8_t* p, int64_t count) {
    uint16_t numbers[2 * kLanes] = {};
    __builtin_memcpy(numbers, p, count * sizeof numbers[0]);
    return loadAs<Floats>(numbers);
  }
  static PALIGEMMA_INLINE Floats add(Floats sum, float x, Floats w) {
    const Floats same = splat(x);
    const auto to = loadAs<__m512>(&sum);
    const auto added = _mm512_dpbf16_ps(to, loadAs<__m512bh>(&same), loadAs<__m512bh>(&w));
    return loadAs<Floats>(&added);
  }
};
#else
constexpr bool kMultipliesPairs = false;
using Pairs = Exact<BFloat16Weights>;
#endif

// The same of packed weights, which are unpacked to float32 before.
template <typename Arithmetic>
struct Unpacked : Arithmetic {
  static constexpr int64_t kBytes = 4;
  static PALIGEMMA_INLINE Floats w(const uint8_t* p) { return Arithmetic::x(reinterpret_cast<const float*>(p)); }
  static PALIGEMMA_INLINE Floats w(const uint8_t* p, int64_t count) {
    return Arithmetic::x(reinterpret_cast<const float*>(p), count);
  }
};

// Calls body(arithmetic) with the one for a matrix.
template <typename Body>
PALIGEMMA_INLINE void withArithmetic(const Matrix& w, bool coarse, const Body& body) {
  if (w.packed()) {
    // Whole numbers below 128 and what was rounded to bfloat16 lose nothing in pairs.
    const bool exact = w.dtype == Dtype::kInt8 || w.rounding == Dtype::kBFloat16;
    if (kMultipliesPairs && coarse && exact) return body(Unpacked<Pairs>{});
    return body(Unpacked<Exact<Float32Weights>>{});
  }
  if (kMultipliesPairs && coarse && w.dtype == Dtype::kBFloat16) return body(Pairs{});
  withWeights(w.dtype, [&](auto weights) { body(Exact<decltype(weights)>{}); });
}

// packed[word][i] = row i of x, zeros behind the last row.
template <typename Arithmetic>
void packTile(const float* x, int64_t rows, int64_t k, float* packed) {
  constexpr int64_t kStep = kLanes * Arithmetic::kPerWord;
  const int64_t words = ceilDiv(k, Arithmetic::kPerWord);
  for (int64_t at = 0; at < words; at += kLanes) {
    const int64_t left = k - at * Arithmetic::kPerWord;
    Floats block[kLanes];
#pragma GCC unroll 16
    for (int i = 0; i < kLanes; i++) {
      const float* from = x + i * k + at * Arithmetic::kPerWord;
      block[i] = i >= least(rows, kTileRows) ? Floats{} : left >= kStep ? Arithmetic::x(from) : Arithmetic::x(from, left);
    }
    transpose(block);
#pragma GCC unroll 16
    for (int i = 0; i < kLanes; i++) {
      if (at + i < words) storeSome(packed + (at + i) * kTileRows, block[i], kTileRows);
    }
  }
}

// The two vectors of outputs that a panel multiplies: neighbours in one matrix, or the same rows of two.
struct Panels {
  const Matrix* matrices[2];
  bool paired() const { return matrices[0] != matrices[1]; }
  int64_t outputs() const { return paired() ? kLanes : kPanel; }
  int64_t count() const { return ceilDiv(matrices[0]->rows, outputs()); }
  int64_t row(int64_t panel, int half) const { return panel * outputs() + (paired() ? 0 : half * kLanes); }
};

template <typename Arithmetic>
constexpr bool isUnpacked = false;
template <typename Arithmetic>
constexpr bool isUnpacked<Unpacked<Arithmetic>> = true;

// packed[word][n] = row n of a panel from the word `from` on, zeros behind the last row.
template <typename Arithmetic>
void packPanel(const Panels& panels, int64_t panel, int64_t from, int64_t depth, float* packed) {
  constexpr int64_t kStep = kLanes * Arithmetic::kPerWord;
  for (int half = 0; half < 2; half++) {
    const Matrix& w = *panels.matrices[half];
    const int64_t first = panels.row(panel, half), start = from * Arithmetic::kPerWord;
    const int64_t width = least(depth * Arithmetic::kPerWord, w.cols - start);
    float numbers[isUnpacked<Arithmetic> ? kLanes : 1][isUnpacked<Arithmetic> ? kDepth * Arithmetic::kPerWord : 1];
    if (isUnpacked<Arithmetic>) {
      for (int i = 0; i < kLanes && first + i < w.rows; i++) unpackRow(w, first + i, start, width, numbers[i]);
    }
    for (int64_t at = 0; at < depth; at += kLanes) {
      const int64_t column = at * Arithmetic::kPerWord, left = width - column;
      Floats block[kLanes];
#pragma GCC unroll 16
      for (int i = 0; i < kLanes; i++) {
        const int64_t n = first + i;
        const uint8_t* p = isUnpacked<Arithmetic>
                               ? reinterpret_cast<const uint8_t*>(numbers[i] + column)
                               : static_cast<const uint8_t*>(w.data) + (n * w.cols + start + column) * Arithmetic::kBytes;
        block[i] = n >= w.rows ? Floats{} : left >= kStep ? Arithmetic::w(p) : Arithmetic::w(p, left);
      }
      transpose(block);
#pragma GCC unroll 16
      for (int i = 0; i < kLanes; i++) {
        if (at + i < depth) store(packed + (at + i) * kPanel + half * kLanes, block[i]);
      }
    }
  }
}

// Fetches the lines of the panel that will be packed next, some before each tile of the present one: they lie in as many
// places as a panel has rows, which no hardware foresees.
class Prefetch {
 public:
  Prefetch(const Panels& panels, int64_t panel, int64_t from, int64_t width)
      : panels_(panels), panel_(panel), from_(from), width_(width) {}
  int64_t lines() const { return kPanel * linesPerRow(); }
  PALIGEMMA_INLINE void advance(int64_t lines) {
    for (const int64_t end = least(next_ + lines, this->lines()); next_ < end; next_++) {
      const int64_t i = next_ / linesPerRow();
      const int half = i >= kLanes;
      const Matrix& w = *panels_.matrices[half];
      const int64_t row = least(w.rows - 1, panels_.row(panel_, half) + i % kLanes);
      __builtin_prefetch(static_cast<const uint8_t*>(w.data) + row * w.rowBytes() + from_ +
                         next_ % linesPerRow() * 64, 0, 2);
    }
  }

 private:
  int64_t linesPerRow() const { return ceilDiv(width_ + 63, 64); }
  const Panels& panels_;
  int64_t panel_, from_, width_, next_ = 0;
};

// sums[i][half] (+)= Σ x[word][i] · panel[word][half] over the depth of a block. Sums of different blocks along k meet in
// memory: shorter chains of additions lose less.
template <typename Arithmetic>
void multiplyTile(const float* x, const float* panel, int64_t depth, bool first, float* sums) {
  Floats tile[kTileRows][2] = {};
  for (int64_t at = 0; at < depth; at++) {
    const Floats low = load(panel + at * kPanel), high = load(panel + at * kPanel + kLanes);
#pragma GCC unroll 14
    for (int i = 0; i < kTileRows; i++) {
      const float one = x[at * kTileRows + i];
      tile[i][0] = Arithmetic::add(tile[i][0], one, low);
      tile[i][1] = Arithmetic::add(tile[i][1], one, high);
    }
  }
#pragma GCC unroll 14
  for (int i = 0; i < kTileRows; i++) {
    float *low = sums + i * kPanel, *high = low + kLanes;
    store(low, first ? tile[i][0] : load(low) + tile[i][0]);
    store(high, first ? tile[i][1] : load(high) + tile[i][1]);
  }
}

// What one task computes, and the memory of its thread.
struct Task {
  int64_t begin, end;  // panels
  float* panel;        // one, of one block along k
  float* sums;         // [panel][tile][kTileRows][kPanel]
};

// All sums of the task's panels for up to kBlockRows packed rows.
template <typename Arithmetic>
void multiplyPanels(const float* packed, int64_t tiles, const Panels& panels, const Task& task) {
  const Matrix& w = *panels.matrices[0];
  const int64_t words = ceilDiv(w.cols, Arithmetic::kPerWord), tileFloats = kTileRows * kPanel;
  for (int64_t from = 0; from == 0 || from < words; from += kDepth) {
    const int64_t depth = least(kDepth, words - from);
    float* sums = task.sums;
    for (int64_t n = task.begin; n < task.end; n++) {
      packPanel<Arithmetic>(panels, n, from, depth, task.panel);
      const bool turn = n + 1 == task.end, over = turn && from + depth >= words;
      const int64_t column = (over ? 0 : turn ? from + depth : from) * Arithmetic::kPerWord;
      const int64_t ahead = least(kDepth * Arithmetic::kPerWord, w.cols - column);
      Prefetch next(panels, turn && !over ? task.begin : least(n + 1, panels.count() - 1),
                    column * w.rowBytes() / w.cols, ahead * w.rowBytes() / w.cols);
      const int64_t lines = ceilDiv(next.lines(), tiles);
      for (int64_t tile = 0; tile < tiles; tile++, sums += tileFloats) {
        next.advance(lines);
        multiplyTile<Arithmetic>(packed + (tile * words + from) * kTileRows, task.panel, depth, from == 0, sums);
      }
    }
  }
}

// What becomes of the sums.
struct Output {
  float* y;
  const float* bias;  // or null
  Activation activation;
};

// Sums of int8 get the scales of their rows.
PALIGEMMA_INLINE Floats scaled(const Matrix& w, int64_t row, int64_t count, Floats sums) {
  if (w.dtype != Dtype::kInt8) return sums;
  return sums * (count == kLanes ? load(w.scales + row) : loadSome<Floats>(w.scales + row, count)) * kPerCode;
}

// y = activation(sums + bias), or gelu(low sums) · high sums of paired panels. Rows outside, so that a row's outputs are
// written in one go: y's rows lie far apart.
void finishTask(const Task& task, int64_t m, const Panels& panels, const Output& out) {
  const int64_t outputs = panels.matrices[0]->rows, perPanel = ceilDiv(m, kTileRows) * kTileRows * kPanel;
  for (int64_t row = 0; row < m; row++) {
    const float* sums = task.sums + row * kPanel;
    for (int64_t n = task.begin; n < task.end; n++, sums += perPanel) {
      for (int half = 0; half < (panels.paired() ? 1 : 2); half++) {
        const int64_t column = panels.row(n, half), count = least(kLanes, outputs - column);
        if (count <= 0) continue;
        Floats v = scaled(*panels.matrices[half], column, count, load(sums + half * kLanes));
        if (panels.paired()) v = geluTanh(v) * scaled(*panels.matrices[1], column, count, load(sums + kLanes));
        if (out.bias) v += count == kLanes ? load(out.bias + column) : loadSome<Floats>(out.bias + column, count);
        storeSome(out.y + row * outputs + column, activate(out.activation, v), count);
      }
    }
  }
}

Scratch packedRows;

void multiply(Pool& pool, const float* x, int64_t m, const Panels& panels, bool coarse, const Output& out) {
  const Matrix& w = *panels.matrices[0];
  const int64_t tiles = ceilDiv(m, kTileRows), count = panels.count();
  const int64_t perTask = most(1, least(kTaskPanels, count / (kFairTasks * pool.threads())));
  const int64_t panelFloats = kDepth * kPanel, taskFloats = panelFloats + perTask * tiles * kTileRows * kPanel;
  withArithmetic(w, coarse, [&](auto arithmetic) {
    using Arithmetic = decltype(arithmetic);
    const int64_t words = ceilDiv(w.cols, Arithmetic::kPerWord), numbers = roundUp(tiles * kTileRows * words, kLanes);
    float* packed =
        reinterpret_cast<float*>(packedRows.need((numbers + pool.threads() * taskFloats) * int64_t{sizeof(float)}));
    pool.run(tiles, [&](int64_t tile, int) {
      const int64_t row = tile * kTileRows;
      packTile<Arithmetic>(x + row * w.cols, m - row, w.cols, packed + row * words);
    });
    pool.run(ceilDiv(count, perTask), [&](int64_t index, int thread) {
      float* mine = packed + numbers + thread * taskFloats;
      const Task task = {index * perTask, least(count, (index + 1) * perTask), mine, mine + panelFloats};
      multiplyPanels<Arithmetic>(packed, tiles, panels, task);
      finishTask(task, m, panels, out);
    });
  });
  packedRows.trim();
}

// Calls body(row, rows) for blocks of at most kBlockRows rows.
template <typename Body>
void forBlocks(int64_t m, const Body& body) {
  const int64_t rows = roundUp(ceilDiv(m, ceilDiv(m, kBlockRows)), kTileRows);
  for (int64_t row = 0; row < m; row += rows) body(row, least(rows, m - row));
}

void linear(Pool& pool, const float* x, int64_t m, const Matrix& w, const float* bias, Activation activation, bool coarse,
            float* y) {
  if (m <= 0) return;
  if (m <= kFewRows) return linearFew(pool, x, m, w, bias, activation, y);
  forBlocks(m, [&](int64_t row, int64_t rows) {
    multiply(pool, x + row * w.cols, rows, {{&w, &w}}, coarse, {y + row * w.rows, bias, activation});
  });
}

Scratch hiddenRows;

void gatedMlp(Pool& pool, const float* x, int64_t m, const Matrix& gate, const Matrix& up, const Matrix& down,
              bool coarse, float* y) {
  if (m <= 0) return;
  const auto need = [&](int64_t rows) {
    return reinterpret_cast<float*>(hiddenRows.need(rows * gate.rows * int64_t{sizeof(float)}));
  };
  if (m <= kFewRows) {
    float* hidden = need(m);
    gateFew(pool, x, m, gate, up, hidden);
    linearFew(pool, hidden, m, down, nullptr, Activation::kNone, y);
  } else {
    forBlocks(m, [&](int64_t row, int64_t rows) {
      float* hidden = need(rows);
      multiply(pool, x + row * gate.cols, rows, {{&gate, &up}}, coarse, {hidden, nullptr, Activation::kNone});
      multiply(pool, hidden, rows, {{&down, &down}}, coarse, {y + row * down.rows, nullptr, Activation::kNone});
    });
  }
  hiddenRows.trim();
}

}  // namespace
}  // namespace PALIGEMMA_ISA
}  // namespace paligemma
