// Flags: -mavx512f -mavx512bw -mavx512vl -mavx512dq -mfma -mf16c -mprefer-vector-width=512 -mamx-tile -mamx-bf16 -mavx512bf16
//
// Products with many rows on the tile unit, which multiplies bfloat16 and adds in float32. A float32 is the sum of three
// bfloat16 (8 + 8 + 8 bits), a float16 of two, and x·w that of the products of their terms. Float32 weights take three
// terms each of x and w, and the six products that float32's own rounding does not swallow. 16-bit weights take two terms of
// x, 17 bits or more: as close as a sum of some thousand float32 is anyway. Where the caller allows a coarse product they take
// one, which rounds x to bfloat16. Numbers below 2⁻¹²⁶ count as zero, and activations above 3.39e38 as infinite.
#if defined(__AMX_BF16__) && defined(__AVX512BF16__)
#define PALIGEMMA_ISA amx
#define PALIGEMMA_LANES 16
#include "scratch.h"
#include "tables.h"

namespace paligemma {
namespace PALIGEMMA_ISA {
namespace {

// A tile: 16 rows of 64 bytes, thus 16 rows x 32 bfloat16, or 16 x 16 float32.
constexpr int64_t kSide = 16;
constexpr int64_t kStep = 32;  // columns of the weights that one product of tiles covers
constexpr int64_t kTileBytes = 1024;
constexpr int64_t kTileFloats = 256;
// Rows of the weights that are multiplied at once, as two tiles.
constexpr int64_t kStrip = 2 * kSide;
// Below this many rows of x the memory is the limit, and vectors are as good.
constexpr int64_t kManyRows = 5;
// Rows of x at a time: bounds the memory of the packed activations.
constexpr int64_t kBlockRows = 512;
// Packed activations of one block along k: what stays in the second cache beside the sums.
constexpr int64_t kBlockBytes = int64_t{3} << 18;

constexpr int termsOf(Dtype dtype) {
  return dtype == Dtype::kBFloat16 ? 1 : dtype == Dtype::kFloat16 ? 2 : 3;
}

// Terms that an activation is split into, for weights of a type.
constexpr int activationTerms(Dtype dtype, bool coarse) { return dtype == Dtype::kFloat32 ? 3 : coarse ? 1 : 2; }

// The compiler does not know that a tile is loaded from memory that was just written.
PALIGEMMA_INLINE void fence() { asm volatile("" ::: "memory"); }

// Configures the eight tiles of this thread, all of full size.
void configureTiles() {
  struct alignas(64) {
    uint8_t palette = 1, start = 0, reserved[14] = {};
    uint16_t bytes[16] = {};
    uint8_t rows[16] = {};
  } config;
  for (int i = 0; i < 8; i++) {
    config.bytes[i] = 64;
    config.rows[i] = kSide;
  }
  fence();
  _tile_loadconfig(&config);
}

// How a packed operand lies in memory: [block of k][tile of 16 rows of x][step][term] tiles of pairs (2k, 2k + 1).
struct Layout {
  int64_t tiles;   // of rows of x
  int64_t steps;   // along k, in all
  int64_t perBlock;  // steps in a block; the last block may have fewer
  int64_t terms;

  Layout(int64_t m, int64_t k, Dtype weights, bool coarse)
      : tiles(ceilDiv(m, kSide)), steps(most(1, ceilDiv(k, kStep))), terms(activationTerms(weights, coarse)) {
    const int64_t fitting = kBlockBytes / (tiles * terms * kTileBytes);
    perBlock = least(steps, most(8, least(32, fitting)));
    perBlock = ceilDiv(steps, ceilDiv(steps, perBlock));
  }
  int64_t blocks() const { return ceilDiv(steps, perBlock); }
  int64_t stepsIn(int64_t block) const { return least(perBlock, steps - block * perBlock); }
  int64_t bytes() const { return tiles * steps * terms * kTileBytes; }
  // Offset of a tile's first step in a block.
  int64_t at(int64_t block, int64_t tile) const {
    return (block * perBlock * tiles + tile * stepsIn(block)) * terms * kTileBytes;
  }
};

// Writes the terms of two neighbouring columns of x, 16 rows each, as one row of each term's tile.
template <int terms>
PALIGEMMA_INLINE void packPair(Floats even, Floats odd, uint8_t* to) {
  const __m512i interleave = _mm512_set_epi16(31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24, 8, 23, 7, 22, 6,
                                              21, 5, 20, 4, 19, 3, 18, 2, 17, 1, 16, 0);
#pragma GCC unroll 3
  for (int term = 0; term < terms; term++) {
    const __m512i both = (__m512i)_mm512_cvtne2ps_pbh(odd, even);
    const __m512i pairs = _mm512_permutexvar_epi16(interleave, both);
    _mm512_store_si512(to + term * kTileBytes, pairs);
    even -= asFloats(loadAs<Words>(&pairs) << 16);
    odd -= asFloats(loadAs<Words>(&pairs) & 0xffff0000u);
  }
}

// Packs 16 rows of x, of which `rows` exist, for one step of which `count` columns exist.
template <int terms>
void packStep(const float* x, int64_t k, int64_t rows, int64_t count, uint8_t* to) {
  for (int64_t half = 0; half < kStep; half += kSide) {
    Floats block[kSide];
#pragma GCC unroll 16
    for (int i = 0; i < kSide; i++) {
      const float* from = x + i * k + half;
      const int64_t left = count - half;
      block[i] = i >= rows || left <= 0 ? Floats{} : left >= kSide ? load(from) : loadSome<Floats>(from, left);
    }
    transpose(block);
#pragma GCC unroll 8
    for (int i = 0; i < kSide; i += 2) packPair<terms>(block[i], block[i + 1], to + (half + i) / 2 * 64);
  }
}

void packRows(Pool& pool, const float* x, int64_t m, int64_t k, const Layout& layout, uint8_t* packed) {
  const auto pack = layout.terms == 3 ? packStep<3> : layout.terms == 2 ? packStep<2> : packStep<1>;
  pool.run(layout.tiles * layout.blocks(), [&](int64_t task, int) {
    const int64_t tile = task % layout.tiles, block = task / layout.tiles, row = tile * kSide;
    uint8_t* to = packed + layout.at(block, tile);
    for (int64_t step = 0; step < layout.stepsIn(block); step++, to += layout.terms * kTileBytes) {
      const int64_t from = (block * layout.perBlock + step) * kStep;
      pack(x + row * k + from, k, m - row, k - from, to);
    }
  });
}

// The two tiles of rows that a strip multiplies: the halves of 32 rows of one matrix, or 16 rows each of two matrices.
struct Strips {
  const Matrix* matrices[2];
  bool paired() const { return matrices[0] != matrices[1]; }
  int64_t rowsPerStrip() const { return paired() ? kSide : kStrip; }
  int64_t count() const { return ceilDiv(matrices[0]->rows, rowsPerStrip()); }
  int64_t row(int64_t strip, int half) const { return strip * rowsPerStrip() + (paired() ? 0 : half * kSide); }
};

// One row of a strip for one step: splits 32 weights into the rows of their terms' tiles.
template <Dtype dtype>
PALIGEMMA_INLINE void splitWeights(const uint8_t* w, int64_t count, uint8_t* to) {
  constexpr int64_t kPlane = 2 * kTileBytes;  // the two tiles of one term
  if (dtype == Dtype::kBFloat16) {
    const __mmask32 some = count >= kStep ? ~0u : (1u << count) - 1;
    _mm512_store_si512(to, _mm512_maskz_loadu_epi16(some, w));
    return;
  }
  using Weights = typename std::conditional<dtype == Dtype::kFloat16, Float16Weights, Float32Weights>::type;
  Floats half[2];
  for (int i = 0; i < 2; i++) {
    const int64_t left = count - i * kSide;
    const uint8_t* from = w + i * kSide * Weights::kBytes;
    half[i] = left >= kSide ? Weights::load(from) : left > 0 ? Weights::loadSome(from, left) : Floats{};
  }
  for (int term = 0; term < termsOf(dtype); term++) {
    const __m512i both = (__m512i)_mm512_cvtne2ps_pbh(half[1], half[0]);
    _mm512_store_si512(to + term * kPlane, both);
    half[0] -= widenBFloat16(loadAs<Halves>(&both));
    half[1] -= widenBFloat16(loadAs<Halves>(reinterpret_cast<const uint8_t*>(&both) + 32));
  }
}

// Copies a strip's columns [from, from + steps · 32) as tiles [step][term][2]. In the file its rows lie a power of two
// apart more often than not, where a cache has few places for them.
template <Dtype dtype>
void packStrip(const Strips& strips, int64_t strip, int64_t from, int64_t steps, uint8_t* to) {
  constexpr int64_t kBytes = dtype == Dtype::kFloat32 ? 4 : 2, kStepBytes = termsOf(dtype) * 2 * kTileBytes;
  for (int half = 0; half < 2; half++) {
    const Matrix& w = *strips.matrices[half];
    for (int64_t i = 0; i < kSide; i++) {
      const int64_t row = strips.row(strip, half) + i;
      uint8_t* line = to + half * kTileBytes + i * 64;
      const uint8_t* data = static_cast<const uint8_t*>(w.data) + (row * w.cols + from) * kBytes;
      for (int64_t step = 0; step < steps; step++) {
        const int64_t count = row < w.rows ? most(0, w.cols - from - step * kStep) : 0;
        splitWeights<dtype>(data + step * kStep * kBytes, count, line + step * kStepBytes);
      }
    }
  }
}

// Fetches the lines of a strip that the next product will copy, a few at each step of the present one.
class Prefetch {
 public:
  Prefetch(const Strips& strips, int64_t strip, int64_t from, int64_t steps)
      : strips_(strips), strip_(strip), bytes_(bytesOf(strips.matrices[0]->dtype)) {
    from_ = from * bytes_;
    width_ = least(steps * kStep, strips.matrices[0]->cols - from) * bytes_;
    enter();
  }
  int64_t lines() const { return kStrip * ceilDiv(width_ + 63, 64); }
  PALIGEMMA_INLINE void advance(int64_t lines) {
    for (; lines > 0 && row_ < kStrip; lines--) {
      _mm_prefetch(reinterpret_cast<const char*>(line_ + column_), _MM_HINT_T1);
      column_ += 64;
      if (column_ >= width_ + 63) {
        row_++;
        enter();
      }
    }
  }

 private:
  void enter() {
    column_ = 0;
    const int half = row_ / kSide % 2;
    const Matrix& w = *strips_.matrices[half];
    const int64_t row = least(w.rows - 1, strips_.row(strip_, half) + row_ % kSide);
    line_ = static_cast<const uint8_t*>(w.data) + row * w.cols * bytes_ + from_;
  }
  const Strips& strips_;
  int64_t strip_, bytes_, from_, width_, row_ = 0, column_ = 0;
  const uint8_t* line_ = nullptr;
};

// The next step's tiles of x lie in the second cache; they are fetched while this one's are multiplied.
PALIGEMMA_INLINE void fetchTile(const uint8_t* tile) {
#pragma GCC unroll 16
  for (int line = 0; line < kTileBytes; line += 64) _mm_prefetch(reinterpret_cast<const char*>(tile + line), _MM_HINT_T0);
}

// Adds the products of one step to the tiles 0 to 3: weights' tiles i and x's tiles j meet in tile 2i + j.
template <int weightTerms, int terms, bool two>
PALIGEMMA_INLINE void multiplyStep(const uint8_t* w, const uint8_t* x0, const uint8_t* x1) {
  for (int wt = 0; wt < weightTerms; wt++) {
    _tile_loadd(4, w + wt * 2 * kTileBytes, 64);
    _tile_loadd(5, w + (wt * 2 + 1) * kTileBytes, 64);
    for (int xt = 0; xt < (terms < 3 - wt ? terms : 3 - wt); xt++) {
      _tile_loadd(6, x0 + xt * kTileBytes, 64);
      if (two) _tile_loadd(7, x1 + xt * kTileBytes, 64);
      if (wt == 0) fetchTile(x0 + (terms + xt) * kTileBytes);
      if (wt == 0 && two) fetchTile(x1 + (terms + xt) * kTileBytes);
      _tile_dpbf16ps(0, 4, 6);
      _tile_dpbf16ps(2, 5, 6);
      if (two) _tile_dpbf16ps(1, 4, 7);
      if (two) _tile_dpbf16ps(3, 5, 7);
    }
  }
}

// sums (+)= the tiles 0 to 3. Sums of different blocks along k meet here and not in the tiles: shorter chains of
// additions lose less.
template <bool two>
PALIGEMMA_INLINE void storeSums(float* sums, bool first) {
  alignas(64) float fresh[4 * kTileFloats];
  float* to = first ? sums : fresh;
  _tile_stored(0, to, 64);
  _tile_stored(2, to + kTileFloats, 64);
  if (two) _tile_stored(1, to + 2 * kTileFloats, 64);
  if (two) _tile_stored(3, to + 3 * kTileFloats, 64);
  fence();
  if (first) return;
  for (int64_t i = 0; i < (two ? 4 : 2) * kTileFloats; i += kLanes) store(sums + i, load(sums + i) + load(fresh + i));
}

// sums[tile][half] (+)= strip · xᵀ, tiles [16 outputs, 16 rows of x], over one block along k.
template <int weightTerms, int terms>
void multiplyStrip(const uint8_t* strip, const uint8_t* x, int64_t tiles, int64_t steps, float* sums, bool first,
                   Prefetch& next) {
  const int64_t lines = ceilDiv(next.lines(), ceilDiv(tiles, 2) * steps), tileBytes = steps * terms * kTileBytes;
  fence();
  for (int64_t tile = 0; tile < tiles; tile += 2, x += 2 * tileBytes, sums += 4 * kTileFloats) {
    const bool two = tile + 1 < tiles;
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    for (int64_t step = 0; step < steps; step++) {
      const uint8_t *w = strip + step * weightTerms * 2 * kTileBytes, *at = x + step * terms * kTileBytes;
      if (two) {
        multiplyStep<weightTerms, terms, true>(w, at, at + tileBytes);
      } else {
        multiplyStep<weightTerms, terms, false>(w, at, at);
      }
      next.advance(lines);
    }
    if (two) {
      storeSums<true>(sums, first);
    } else {
      storeSums<false>(sums, first);
    }
  }
}

// What one task computes, and the memory of its thread.
struct Task {
  int64_t begin, end;  // strips
  uint8_t* weights;    // one strip of one block
  float* sums;         // [strip][tile][2] tiles
};

// All sums of the task's strips. Blocks along k outside, so that the activations of one stay in the second cache.
template <Dtype dtype, int terms>
void multiplyStrips(const Strips& strips, const Layout& layout, const uint8_t* packed, const Task& task) {
  const int64_t perStrip = layout.tiles * 2 * kTileFloats;
  configureTiles();
  for (int64_t block = 0; block < layout.blocks(); block++) {
    const int64_t from = block * layout.perBlock * kStep, steps = layout.stepsIn(block);
    for (int64_t strip = task.begin; strip < task.end; strip++) {
      packStrip<dtype>(strips, strip, from, steps, task.weights);
      const bool turn = strip + 1 == task.end, end = turn && block + 1 == layout.blocks();
      const int64_t nextBlock = turn && !end ? block + 1 : block;
      Prefetch next(strips, end ? least(strips.count() - 1, strip + 1) : turn ? task.begin : strip + 1,
                    end ? 0 : nextBlock * layout.perBlock * kStep, layout.stepsIn(end ? 0 : nextBlock));
      multiplyStrip<termsOf(dtype), terms>(task.weights, packed + layout.at(block, 0), layout.tiles, steps,
                                    task.sums + (strip - task.begin) * perStrip, block == 0, next);
    }
  }
  _tile_release();
}

using MultiplyStrips = void (*)(const Strips&, const Layout&, const uint8_t*, const Task&);

MultiplyStrips multiplyStripsFor(Dtype dtype, int64_t terms) {
  if (dtype == Dtype::kFloat32) return multiplyStrips<Dtype::kFloat32, 3>;
  if (dtype == Dtype::kFloat16) return terms == 2 ? multiplyStrips<Dtype::kFloat16, 2> : multiplyStrips<Dtype::kFloat16, 1>;
  return terms == 2 ? multiplyStrips<Dtype::kBFloat16, 2> : multiplyStrips<Dtype::kBFloat16, 1>;
}

Scratch taskMemory;

// Runs multiplyStrips over all strips and calls finish(task) for each task with its sums.
template <typename Finish>
void multiply(Pool& pool, const Strips& strips, const Layout& layout, const uint8_t* packed, const Finish& finish) {
  const int64_t perStrip = layout.tiles * 2 * kTileFloats, threads = pool.threads();
  const int64_t fitting = most(1, kBlockBytes / (perStrip * int64_t{sizeof(float)}));
  const int64_t tasks = roundUp(ceilDiv(strips.count(), least(32, fitting)), threads);
  const int64_t perTask = ceilDiv(strips.count(), tasks);
  const Dtype dtype = strips.matrices[0]->dtype;
  const auto run = multiplyStripsFor(dtype, layout.terms);
  const int64_t weightBytes = layout.perBlock * termsOf(dtype) * 2 * kTileBytes;
  const int64_t bytes = weightBytes + perTask * perStrip * int64_t{sizeof(float)};
  uint8_t* memory = taskMemory.need(threads * bytes);
  pool.run(ceilDiv(strips.count(), perTask), [&](int64_t index, int thread) {
    uint8_t* mine = memory + thread * bytes;
    const Task task = {index * perTask, least(strips.count(), (index + 1) * perTask), mine,
                       reinterpret_cast<float*>(mine + weightBytes)};
    run(strips, layout, packed, task);
    finish(task);
  });
  taskMemory.trim();
}

// One tile of outputs: y[i][n] = activation(sums[n][i] + bias[n]) for `rows` rows and `count` columns.
PALIGEMMA_INLINE void finishTile(const float* sums, int64_t rows, int64_t count, const float* bias,
                                 Activation activation, float* y, int64_t stride) {
  Floats block[kSide];
#pragma GCC unroll 16
  for (int i = 0; i < kSide; i++) block[i] = load(sums + i * kSide);
  transpose(block);
  const Floats shift = !bias ? Floats{} : count == kSide ? load(bias) : loadSome<Floats>(bias, count);
  float kept[kSide * kSide];
#pragma GCC unroll 16
  for (int i = 0; i < kSide; i++) store(kept + i * kSide, block[i] + shift);
  for (int64_t i = 0; i < rows; i++) {
    const Floats v = load(kept + i * kSide);
    storeSome(y + i * stride, activation == Activation::kGeluTanh ? geluTanh(v) : v, count);
  }
}

// y = activation(sums + bias) for the strips of one task. Rows of x outside, so that a row's outputs are written in one
// go: y's rows lie far apart.
void finishLinear(const Task& task, int64_t m, int64_t outputs, const float* bias, Activation activation, float* y) {
  const int64_t perStrip = ceilDiv(m, kSide) * 2 * kTileFloats;
  for (int64_t tile = 0; tile * kSide < m; tile++) {
    const int64_t row = tile * kSide, rows = least(kSide, m - row);
    for (int64_t n = task.begin * kStrip; n < least(outputs, task.end * kStrip); n += kSide) {
      const float* sums = task.sums + (n / kStrip - task.begin) * perStrip + (2 * tile + n / kSide % 2) * kTileFloats;
      finishTile(sums, rows, least(kSide, outputs - n), bias ? bias + n : nullptr, activation, y + row * outputs + n,
                 outputs);
    }
  }
}

// hidden = gelu(gate) · up for the strips of one task, packed as the activations of the next product: the sums lie as it
// wants them.
template <int terms>
void finishGate(const Task& task, const Layout& hidden, uint8_t* packed) {
  const float* sums = task.sums;
  for (int64_t strip = task.begin; strip < task.end; strip++) {
    const int64_t step = strip / 2, block = step / hidden.perBlock;
    const int64_t offset = (step - block * hidden.perBlock) * terms * kTileBytes + strip % 2 * kTileBytes / 2;
    for (int64_t tile = 0; tile < hidden.tiles; tile++, sums += 2 * kTileFloats) {
      uint8_t* to = packed + hidden.at(block, tile) + offset;
      for (int64_t i = 0; i < kSide; i += 2, to += 64) {
        const float* gate = sums + i * kSide;
        packPair<terms>(geluTanh(load(gate)) * load(gate + kTileFloats),
                 geluTanh(load(gate + kSide)) * load(gate + kSide + kTileFloats), to);
      }
    }
  }
}

Scratch packedRows;
Scratch packedHidden;

// Calls body(row, rows) for blocks of at most kBlockRows rows.
template <typename Body>
void forBlocks(int64_t m, const Body& body) {
  const int64_t rows = roundUp(ceilDiv(m, ceilDiv(m, kBlockRows)), kSide);
  for (int64_t row = 0; row < m; row += rows) body(row, least(rows, m - row));
}

void linear(Pool& pool, const float* x, int64_t m, const Product* products, int64_t count, Activation activation,
            bool coarse) {
  if (m < kManyRows) return kAvx512Kernels.linear(pool, x, m, products, count, activation, coarse);
  const Matrix& first = products[0].w;
  // Packed weights are unpacked for vectors, whose layout tiles do not share.
  if (first.packed()) return avx512Bf16Kernels()->linear(pool, x, m, products, count, activation, coarse);
  forBlocks(m, [&](int64_t row, int64_t rows) {
    const Layout layout(rows, first.cols, first.dtype, coarse);
    uint8_t* packed = packedRows.need(layout.bytes());
    packRows(pool, x + row * first.cols, rows, first.cols, layout, packed);
    for (int64_t i = 0; i < count; i++) {
      const Product& product = products[i];
      const int64_t outputs = product.w.rows;
      multiply(pool, {{&product.w, &product.w}}, layout, packed, [&](const Task& task) {
        finishLinear(task, rows, outputs, product.bias, activation, product.y + row * outputs);
      });
    }
  });
  packedRows.trim();
}

void gatedMlp(Pool& pool, const float* x, int64_t m, int64_t among, const Matrix& gate, const Matrix& up,
              const Matrix& down, bool coarse, float* y) {
  if (among < kManyRows) return kAvx512Kernels.gatedMlp(pool, x, m, among, gate, up, down, coarse, y);
  if (gate.packed() || down.packed()) {
    return avx512Bf16Kernels()->gatedMlp(pool, x, m, among, gate, up, down, coarse, y);
  }
  forBlocks(m, [&](int64_t row, int64_t rows) {
    const Layout layout(rows, gate.cols, gate.dtype, coarse), inner(rows, gate.rows, down.dtype, coarse);
    uint8_t *packed = packedRows.need(layout.bytes()), *hidden = packedHidden.need(inner.bytes());
    packRows(pool, x + row * gate.cols, rows, gate.cols, layout, packed);
    // Strips have 16 outputs: an odd number of them leaves half a step unwritten.
    if (ceilDiv(gate.rows, kSide) % 2) {
      for (int64_t tile = 0; tile < inner.tiles; tile++) {
        uint8_t* last = hidden + inner.at(inner.blocks() - 1, tile) +
                        (inner.stepsIn(inner.blocks() - 1) - 1) * inner.terms * kTileBytes;
        __builtin_memset(last, 0, inner.terms * kTileBytes);
      }
    }
    const auto finish = inner.terms == 3 ? finishGate<3> : inner.terms == 2 ? finishGate<2> : finishGate<1>;
    multiply(pool, {{&gate, &up}}, layout, packed, [&](const Task& task) { finish(task, inner, hidden); });
    multiply(pool, {{&down, &down}}, inner, hidden, [&](const Task& task) {
      finishLinear(task, rows, down.rows, nullptr, Activation::kNone, y + row * down.rows);
    });
  });
  packedRows.trim();
  packedHidden.trim();
}

Scratch hiddenRows;

void mlp(Pool& pool, const float* x, int64_t m, const Matrix& fc1, const float* bias1, const Product& fc2, bool coarse) {
  if (m < kManyRows) return kAvx512Kernels.mlp(pool, x, m, fc1, bias1, fc2, coarse);
  const Product first = {fc1, bias1, reinterpret_cast<float*>(hiddenRows.need(m * fc1.rows * int64_t{sizeof(float)}))};
  linear(pool, x, m, &first, 1, Activation::kGeluTanh, coarse);
  linear(pool, first.y, m, &fc2, 1, Activation::kNone, coarse);
  hiddenRows.trim();
}

}  // namespace
}  // namespace PALIGEMMA_ISA

const Kernels* amxKernels() {
  static Kernels table;
  table = kAvx512Kernels;
  table.name = "amx";
  table.linear = amx::linear;
  table.gatedMlp = amx::gatedMlp;
  table.mlp = amx::mlp;
  return &table;
}

}  // namespace paligemma
#endif
