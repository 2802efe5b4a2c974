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
// Words of a block along k: a panel of it, 24 KiB at the most, stays in the first cache beside a tile of x.
constexpr int64_t kDepth = 192;
// Outputs that one task computes, as panels: the block of x is read from the second cache once for each.
constexpr int64_t kTaskPanels = 4;
// Tasks for each thread, at the least: one more or less should not be felt.
constexpr int64_t kFairTasks = 6;
// Rows of x that are packed at a time.
constexpr int64_t kBlockRows = 36 * 14;

// How numbers are multiplied. Operands are packed as words of 32 bits; kPerWord neighbours along k make one. `x` and `w`
// read kLanes words, or `count` numbers with zeros behind; `words` makes them of kPerWord vectors of x.
template <typename Weights>
struct Exact {
  static constexpr int64_t kPerWord = 1, kBytes = Weights::kBytes;
  static PALIGEMMA_INLINE Floats words(const Floats* numbers) { return numbers[0]; }
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
  static PALIGEMMA_INLINE Floats words(const Floats* numbers) { return round(numbers[0], numbers[1]); }
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

// Where the words of x's rows lie: [block along k][tile][word of the block][kTileRows], so that what is multiplied one after
// the other is read in order.
struct Layout {
  int64_t rows, words;
  int64_t tiles() const { return ceilDiv(rows, kTileRows); }
  int64_t floats() const { return roundUp(tiles() * kTileRows * words, kLanes); }
  int64_t depth(int64_t from) const { return least(kDepth, words - from); }
  // Of the first word of a block, and of any.
  int64_t block(int64_t from, int64_t tile) const { return (from * tiles() + tile * depth(from)) * kTileRows; }
  int64_t at(int64_t word, int64_t tile) const {
    return block(word / kDepth * kDepth, tile) + word % kDepth * kTileRows;
  }
};

// Stores kLanes words from `word` on, a multiple of kLanes, of the rows of a tile.
PALIGEMMA_INLINE void storeWords(Floats* rows, const Layout& layout, int64_t word, int64_t tile, float* packed) {
  transpose(rows);
  float* to = packed + layout.at(word, tile);
#pragma GCC unroll 16
  for (int i = 0; i < kLanes; i++) {
    if (word + i < layout.words) storeSome(to + i * kTileRows, rows[i], kTileRows);
  }
}

// Packs the rows of one tile, zeros behind the last.
template <typename Arithmetic>
void packTile(const float* x, int64_t k, const Layout& layout, int64_t tile, float* packed) {
  constexpr int64_t kStep = kLanes * Arithmetic::kPerWord;
  const int64_t first = tile * kTileRows, rows = least(layout.rows - first, kTileRows);
  for (int64_t word = 0; word < layout.words; word += kLanes) {
    const int64_t column = word * Arithmetic::kPerWord, left = k - column;
    Floats block[kLanes];
#pragma GCC unroll 16
    for (int i = 0; i < kLanes; i++) {
      const float* from = x + (first + i) * k + column;
      block[i] = i >= rows ? Floats{} : left >= kStep ? Arithmetic::x(from) : Arithmetic::x(from, left);
    }
    storeWords(block, layout, word, tile, packed);
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
    float words[kLanes][kDepth + kLanes];
    for (int i = 0; i < kLanes; i++) {
      const int64_t n = first + i;
      if (n >= w.rows) {
        for (int64_t at = 0; at < depth; at += kLanes) store(words[i] + at, Floats{});
        continue;
      }
      float numbers[isUnpacked<Arithmetic> ? kDepth * Arithmetic::kPerWord : 1];
      if (isUnpacked<Arithmetic>) unpackRow(w, n, start, width, numbers);
      const uint8_t* row = isUnpacked<Arithmetic>
                               ? reinterpret_cast<const uint8_t*>(numbers)
                               : static_cast<const uint8_t*>(w.data) + (n * w.cols + start) * Arithmetic::kBytes;
      for (int64_t at = 0; at < depth; at += kLanes) {
        const int64_t column = at * Arithmetic::kPerWord, left = width - column;
        const uint8_t* p = row + column * Arithmetic::kBytes;
        store(words[i] + at, left >= kStep ? Arithmetic::w(p) : Arithmetic::w(p, left));
      }
    }
    for (int64_t at = 0; at < depth; at += kLanes) {
      Floats block[kLanes];
#pragma GCC unroll 16
      for (int i = 0; i < kLanes; i++) block[i] = load(words[i] + at);
      transpose(block);
#pragma GCC unroll 16
      for (int i = 0; i < kLanes; i++) {
        if (at + i < depth) store(packed + (at + i) * kPanel + half * kLanes, block[i]);
      }
    }
  }
}

// Fetches the lines of the panel that will be packed next, a few at a time while the present one is multiplied: they lie in
// as many places as a panel has rows, which no hardware foresees.
class Prefetch {
 public:
  // `columns` numbers of each row of a panel, from `column` on, by so many calls of `advance`.
  Prefetch(const Panels& panels, int64_t panel, int64_t column, int64_t columns, int64_t steps)
      : panels_(panels), panel_(panel) {
    const Matrix& w = *panels.matrices[0];
    offset_ = column * w.rowBytes() / w.cols;
    perRow_ = ceilDiv(columns * w.rowBytes() / w.cols + 63, 64);
    perStep_ = ceilDiv(kPanel * perRow_, steps);
    enter(0);
  }
  PALIGEMMA_INLINE void advance() {
    for (int64_t i = 0; i < perStep_ && row_ < kPanel; i++) {
      __builtin_prefetch(next_, 0, 2);
      next_ += 64;
      if (--left_ == 0) enter(row_ + 1);
    }
  }

 private:
  void enter(int64_t row) {
    row_ = row;
    left_ = perRow_;
    if (row == kPanel) return;
    const int half = row >= kLanes;
    const Matrix& w = *panels_.matrices[half];
    const int64_t n = least(w.rows - 1, panels_.row(panel_, half) + row % kLanes);
    next_ = static_cast<const uint8_t*>(w.data) + n * w.rowBytes() + offset_;
  }
  const Panels& panels_;
  int64_t panel_, offset_, perRow_, perStep_, row_, left_;
  const uint8_t* next_;
};

// Words that are multiplied between two steps of the prefetch.
constexpr int64_t kStride = 16;

// sums[i][half] (+)= Σ x[word][i] · panel[word][half] for R rows over the depth of a block. Sums of different blocks along k
// meet in memory: shorter chains of additions lose less.
template <typename Arithmetic, int R>
__attribute__((noinline)) void multiplyTile(const float* x, const float* panel, int64_t depth, bool first, float* sums,
                                            Prefetch& next) {
  Floats tile[R][2] = {};
  for (int64_t from = 0; from < depth; from += kStride) {
    next.advance();
    for (int64_t at = from, end = least(depth, from + kStride); at < end; at++) {
      const Floats low = load(panel + at * kPanel), high = load(panel + at * kPanel + kLanes);
#pragma GCC unroll 14
      for (int i = 0; i < R; i++) {
        const float one = x[at * kTileRows + i];
        tile[i][0] = Arithmetic::add(tile[i][0], one, low);
        tile[i][1] = Arithmetic::add(tile[i][1], one, high);
      }
    }
  }
#pragma GCC unroll 14
  for (int i = 0; i < R; i++) {
    float *low = sums + i * kPanel, *high = low + kLanes;
    store(low, first ? tile[i][0] : load(low) + tile[i][0]);
    store(high, first ? tile[i][1] : load(high) + tile[i][1]);
  }
}

// The same for a tile of which `rows` count: at most one row more is computed.
template <typename Arithmetic, int R = kTileRows>
PALIGEMMA_INLINE void multiplyRows(int64_t rows, const float* x, const float* panel, int64_t depth, bool first, float* sums,
                                   Prefetch& next) {
  if constexpr (R > 2) {
    if (rows <= R - 2) return multiplyRows<Arithmetic, R - 2>(rows, x, panel, depth, first, sums, next);
  }
  multiplyTile<Arithmetic, R>(x, panel, depth, first, sums, next);
}

// Some panels of one of several products.
struct Span {
  int64_t product, begin, end;
};

// What one task computes, and the memory of its thread.
struct Task : Span {
  Span next;     // what this thread computes after it, as far as one can tell
  float* panel;  // one, of one block along k
  float* sums;   // [panel][tile][kTileRows][kPanel]
};

// All sums of the task's panels for up to kBlockRows packed rows.
template <typename Arithmetic>
void multiplyPanels(const float* packed, const Layout& layout, const Panels* products, const Task& task) {
  const Panels& panels = products[task.product];
  const int64_t cols = panels.matrices[0]->cols, tiles = layout.tiles(), tileFloats = kTileRows * kPanel;
  for (int64_t from = 0; from == 0 || from < layout.words; from += kDepth) {
    const int64_t depth = layout.depth(from);
    float* sums = task.sums;
    for (int64_t n = task.begin; n < task.end; n++) {
      packPanel<Arithmetic>(panels, n, from, depth, task.panel);
      const bool turn = n + 1 == task.end, over = turn && from + depth >= layout.words;
      const int64_t column = (over ? 0 : turn ? from + depth : from) * Arithmetic::kPerWord;
      Prefetch next(products[over ? task.next.product : task.product],
                    over ? task.next.begin : turn ? task.begin : n + 1, column,
                    least(kDepth * Arithmetic::kPerWord, cols - column), tiles * ceilDiv(depth, kStride));
      for (int64_t tile = 0; tile < tiles; tile++, sums += tileFloats) {
        multiplyRows<Arithmetic>(layout.rows - tile * kTileRows, packed + layout.block(from, tile), task.panel, depth,
                                 from == 0, sums, next);
      }
    }
  }
}

// Sums of int8 get the scales of their rows.
PALIGEMMA_INLINE Floats scaled(const Matrix& w, int64_t row, int64_t count, Floats sums) {
  if (w.dtype != Dtype::kInt8) return sums;
  return sums * loadSome<Floats>(w.scales + row, count) * kPerCode;
}

// y = activation(sums + bias), where `bias` may be null. Rows outside, so that a row's outputs are written in one go: y's rows
// lie far apart.
void finishLinear(const Task& task, int64_t m, const Panels& panels, const float* bias, Activation activation, float* y) {
  const Matrix& w = *panels.matrices[0];
  const int64_t perPanel = ceilDiv(m, kTileRows) * kTileRows * kPanel;
  for (int64_t row = 0; row < m; row++) {
    const float* sums = task.sums + row * kPanel;
    for (int64_t n = task.begin; n < task.end; n++, sums += perPanel) {
      for (int half = 0; half < 2; half++) {
        const int64_t column = panels.row(n, half), count = least(kLanes, w.rows - column);
        if (count <= 0) continue;
        Floats v = scaled(w, column, count, load(sums + half * kLanes));
        if (bias) v += loadSome<Floats>(bias + column, count);
        storeSome(y + row * w.rows + column, activate(activation, v), count);
      }
    }
  }
}

// What becomes of the sums before another matrix is multiplied: `vector(column, count, sums, other)` of the kLanes outputs from a
// column on, where `other` are the sums of the second matrix of paired panels; packed as that matrix's words.
template <typename Next, typename Vector>
void finishHidden(const Task& task, const Panels& panels, const Layout& layout, float* hidden, const Vector& vector) {
  const int64_t perPanel = layout.tiles() * kTileRows * kPanel, inPanel = panels.outputs() / kLanes;
  const int64_t begin = task.begin * inPanel, end = task.end * inPanel;
  for (int64_t n = begin; n < end; n += Next::kPerWord) {
    for (int64_t tile = 0; tile < layout.tiles(); tile++) {
      const int64_t rows = least(layout.rows - tile * kTileRows, kTileRows);
      Floats block[kLanes] = {};
      for (int64_t i = 0; i < rows; i++) {
        Floats numbers[Next::kPerWord] = {};
        for (int j = 0; j < Next::kPerWord && n + j < end; j++) {
          const int64_t panel = (n + j) / inPanel - task.begin, column = (n + j) * kLanes;
          const float* sums = task.sums + panel * perPanel + (tile * kTileRows + i) * kPanel + (n + j) % inPanel * kLanes;
          const int64_t count = most(0, least(kLanes, panels.matrices[0]->rows - column));
          numbers[j] = vector(column, count, sums, sums + kLanes);
        }
        block[i] = Next::words(numbers);
      }
      storeWords(block, layout, n * kLanes / Next::kPerWord, tile, hidden);
    }
  }
}

Scratch packedRows, packedHidden, taskMemory;

// How the panels of several products are divided among the tasks of one loop.
struct Division {
  const Panels* products;
  int64_t count, perTask;

  Division(const Panels* products, int64_t count, int threads) : products(products), count(count) {
    int64_t panels = 0;
    for (int64_t i = 0; i < count; i++) panels += products[i].count();
    const int64_t fair = panels / (kFairTasks * threads);
    perTask = least(kTaskPanels, most(1, fair / 2) * 2);  // even: two panels may make words together
  }
  int64_t tasksOf(int64_t product) const { return ceilDiv(products[product].count(), perTask); }
  int64_t tasks() const {
    int64_t sum = 0;
    for (int64_t i = 0; i < count; i++) sum += tasksOf(i);
    return sum;
  }
  Span span(int64_t index) const {
    int64_t product = 0;
    for (; index >= tasksOf(product); product++) index -= tasksOf(product);
    return {product, index * perTask, least(products[product].count(), (index + 1) * perTask)};
  }
};

// Calls finish(task) for every task of several products with the same packed rows.
template <typename Arithmetic, typename Finish>
void multiplyPacked(Pool& pool, const float* packed, const Layout& layout, const Panels* products, int64_t count,
                    const Finish& finish) {
  const Division division(products, count, pool.threads());
  const int64_t panelFloats = kDepth * kPanel, tasks = division.tasks();
  const int64_t taskFloats = panelFloats + division.perTask * layout.tiles() * kTileRows * kPanel;
  float* memory = reinterpret_cast<float*>(taskMemory.need(pool.threads() * taskFloats * int64_t{sizeof(float)}));
  pool.run(tasks, [&](int64_t index, int thread) {
    float* mine = memory + thread * taskFloats;
    // Threads take tasks by turns, more or less.
    const Span next = division.span(least(tasks - 1, index + pool.threads()));
    const Task task = {division.span(index), next, mine, mine + panelFloats};
    multiplyPanels<Arithmetic>(packed, layout, products, task);
    finish(task);
  });
  taskMemory.trim();
}

// The same for rows of x, which it packs.
template <typename Finish>
void multiply(Pool& pool, const float* x, int64_t m, const Panels* products, int64_t count, bool coarse,
              const Finish& finish) {
  const Matrix& w = *products[0].matrices[0];
  withArithmetic(w, coarse, [&](auto arithmetic) {
    using Arithmetic = decltype(arithmetic);
    const Layout layout = {m, ceilDiv(w.cols, Arithmetic::kPerWord)};
    float* packed = reinterpret_cast<float*>(packedRows.need(layout.floats() * int64_t{sizeof(float)}));
    pool.run(layout.tiles(), [&](int64_t tile, int) { packTile<Arithmetic>(x, w.cols, layout, tile, packed); });
    multiplyPacked<Arithmetic>(pool, packed, layout, products, count, finish);
  });
  packedRows.trim();
}

// Calls body(row, rows) for blocks of at most kBlockRows rows.
template <typename Body>
void forBlocks(int64_t m, const Body& body) {
  const int64_t rows = roundUp(ceilDiv(m, ceilDiv(m, kBlockRows)), kTileRows);
  for (int64_t row = 0; row < m; row += rows) body(row, least(rows, m - row));
}

void linear(Pool& pool, const float* x, int64_t m, const Product* products, int64_t count, Activation activation,
            bool coarse) {
  if (m <= 0) return;
  if (m <= kFewRows) {
    for (int64_t i = 0; i < count; i++) linearFew(pool, x, m, products[i], activation);
    return;
  }
  Panels panels[kMaxProducts];
  for (int64_t i = 0; i < count; i++) panels[i] = {{&products[i].w, &products[i].w}};
  const int64_t cols = products[0].w.cols;
  forBlocks(m, [&](int64_t row, int64_t rows) {
    multiply(pool, x + row * cols, rows, panels, count, coarse, [&](const Task& task) {
      const Product& product = products[task.product];
      finishLinear(task, rows, panels[task.product], product.bias, activation, product.y + row * product.w.rows);
    });
  });
}

Scratch hiddenRows;

// y = second(vector(first(x))): the hidden rows are packed as they come. `vector` as in finishHidden.
template <typename Vector>
void multiplyTwice(Pool& pool, const float* x, int64_t m, const Panels& first, const Product& second, bool coarse,
                   const Vector& vector) {
  const Matrix& w = second.w;
  const Panels last = {{&w, &w}};
  const int64_t cols = first.matrices[0]->cols;
  forBlocks(m, [&](int64_t row, int64_t rows) {
    withArithmetic(w, coarse, [&](auto arithmetic) {
      using Next = decltype(arithmetic);
      const Layout layout = {rows, ceilDiv(w.cols, Next::kPerWord)};
      auto* hidden = reinterpret_cast<float*>(packedHidden.need(layout.floats() * int64_t{sizeof(float)}));
      multiply(pool, x + row * cols, rows, &first, 1, coarse,
               [&](const Task& task) { finishHidden<Next>(task, first, layout, hidden, vector); });
      multiplyPacked<Next>(pool, hidden, layout, &last, 1, [&](const Task& task) {
        finishLinear(task, rows, last, second.bias, Activation::kNone, second.y + row * w.rows);
      });
    });
  });
  packedHidden.trim();
}

void gatedMlp(Pool& pool, const float* x, int64_t m, int64_t among, const Matrix& gate, const Matrix& up,
              const Matrix& down, bool coarse, float* y) {
  if (m <= 0) return;
  const Product second = {down, nullptr, y};
  if (among <= kFewRows) {
    auto* hidden = reinterpret_cast<float*>(hiddenRows.need(m * gate.rows * int64_t{sizeof(float)}));
    gateFew(pool, x, m, gate, up, hidden);
    return linearFew(pool, hidden, m, second, Activation::kNone);
  }
  multiplyTwice(pool, x, m, {{&gate, &up}}, second, coarse,
                [&](int64_t column, int64_t count, const float* gates, const float* ups) {
                  return geluTanh(scaled(gate, column, count, load(gates))) * scaled(up, column, count, load(ups));
                });
}

void mlp(Pool& pool, const float* x, int64_t m, const Matrix& fc1, const float* bias1, const Product& fc2, bool coarse) {
  if (m <= 0) return;
  if (m <= kFewRows) {
    auto* hidden = reinterpret_cast<float*>(hiddenRows.need(m * fc1.rows * int64_t{sizeof(float)}));
    linearFew(pool, x, m, {fc1, bias1, hidden}, Activation::kGeluTanh);
    return linearFew(pool, hidden, m, fc2, Activation::kNone);
  }
  multiplyTwice(pool, x, m, {{&fc1, &fc1}}, fc2, coarse, [&](int64_t column, int64_t count, const float* sums, const float*) {
    return geluTanh(scaled(fc1, column, count, load(sums)) + loadSome<Floats>(bias1 + column, count));
  });
}

}  // namespace
}  // namespace PALIGEMMA_ISA
}  // namespace paligemma
