// What a block of queries reads by its pattern: the weighted sums of the values.
#pragma once

#include "attend-block.h"

namespace paligemma {
namespace PALIGEMMA_ISA {
namespace {

// Positions of one head lie a page apart where there are several heads, which no hardware prefetcher follows.
constexpr int64_t kValuesAhead = 16;

// The values as blocks read them. As they lie, positions a page apart fall on each other in the cache, and a last vector
// may not be whole: more than one tile of rows reads a packed copy, [b, head][piece of kPositions][step][position][columns
// of the step], where a step is two vectors of columns, the last one or two.
class Values {
 public:
  explicit Values(const float* packed) : packed_(packed) {}  // or null: as they lie
  static bool packs(const Attention& a) { return a.T * (a.N / a.K) > kAttendRows || a.H % (2 * kLanes) != 0; }
  static int64_t floats(const Attention& a) { return a.B * a.K * a.S * columnsOf(a); }
  // Offset of the piece that begins at position s.
  static int64_t piece(const Block& block, int64_t s) {
    const Attention& a = *block.a;
    return ((block.b * a.K + block.head) * a.S + s) * columnsOf(a);
  }
  const float* at(const Block& block, int64_t s, int64_t positions, int64_t column) const {
    return packed_ ? packed_ + piece(block, s) + column * positions : block.value(s) + column;
  }
  // From a position to the next.
  int64_t stride(const Block& block, int64_t step) const { return packed_ ? step : block.keyStride(); }

 private:
  const float* packed_;
};

// Packs the piece that begins at position s.
void packPiece(const Block& block, int64_t s, float* packed) {
  const int64_t H = block.a->H, end = least(block.a->S, s + kPositions);
  float* to = packed + Values::piece(block, s);
  for (int64_t from = 0; from < H; from += 2 * kLanes) {
    for (int64_t i = s; i < end; i++) {
      const float* value = block.value(i);
      for (int64_t h = from; h < least(H, from + 2 * kLanes); h += kLanes, to += kLanes) {
        store(to, loadSome<Floats>(value + h, H - h));
      }
    }
  }
}

// sums[i][h] (+)= Σₛ scores[s][i] · value[s][h] for kAttendRows rows and V vectors of h.
template <int V>
PALIGEMMA_INLINE void valueTile(const float* scores, int64_t width, const float* values, int64_t stride,
                                int64_t positions, bool first, float* sums, int64_t columns) {
  Floats tile[kAttendRows][V] = {};
  for (int64_t s = 0; s < positions; s++) {
    Floats v[V];
#pragma GCC unroll 2
    for (int j = 0; j < V; j++) {
      v[j] = load(values + s * stride + j * kLanes);
      __builtin_prefetch(values + (s + kValuesAhead) * stride + j * kLanes);
    }
#pragma GCC unroll 8
    for (int i = 0; i < kAttendRows; i++) {
      const Floats one = splat(scores[s * width + i]);
#pragma GCC unroll 2
      for (int j = 0; j < V; j++) tile[i][j] += one * v[j];
    }
  }
#pragma GCC unroll 8
  for (int i = 0; i < kAttendRows; i++) {
#pragma GCC unroll 2
    for (int j = 0; j < V; j++) {
      float* at = sums + i * columns + j * kLanes;
      store(at, first ? tile[i][j] : tile[i][j] + load(at));
    }
  }
}

// sums = pattern · values for the columns [from, to) of H, both whole steps but for the end.
__attribute__((noinline)) void weighColumns(const Block& block, const BlockMemory& memory, const Values& values, int64_t from,
                                            int64_t to) {
  const int64_t S = block.a->S, width = block.width, columns = columnsOf(*block.a);
  const int64_t used = roundUp(block.rows, kAttendRows);
  for (int64_t s = 0; s < S; s += kPositions) {
    const int64_t positions = least(kPositions, S - s);
    for (int64_t h = from; h < to; h += 2 * kLanes) {
      const int64_t step = least(2 * kLanes, columns - h), stride = values.stride(block, step);
      const float *pattern = memory.scores + s * width, *some = values.at(block, s, positions, h);
      for (int64_t i = 0; i < used; i += kAttendRows) {
        float* sums = memory.sums + i * columns + h;
        (step > kLanes ? valueTile<2> : valueTile<1>)(pattern + i, width, some, stride, positions, s == 0, sums, columns);
      }
    }
  }
}

void storeSums(const Block& block, const BlockMemory& memory) {
  const int64_t columns = columnsOf(*block.a);
  for (int64_t i = 0; i < block.rows; i++) {
    __builtin_memcpy(block.a->z + block.query(i), memory.sums + i * columns, block.a->H * sizeof(float));
  }
}

}  // namespace
}  // namespace PALIGEMMA_ISA
}  // namespace paligemma
