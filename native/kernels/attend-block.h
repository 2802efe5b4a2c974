// One block of queries that attend, and the memory it works in.
#pragma once

#include "scratch.h"

namespace paligemma {
namespace PALIGEMMA_ISA {
namespace {

// Rows of the register tile; two vectors wide, it fits the registers as the tile of the linear kernel does.
constexpr int kAttendRows = kLanes == 16 ? 8 : 4;
// Positions whose weighted values are summed before they join the total: bounds the error, and keeps both in cache.
constexpr int64_t kPositions = 128;

// The rows of one block are the pairs (t, g) of a query's position and its head among the G that share a key head, t
// major. A vector holds one score of each of its rows, so that the softmax is a loop over positions without shuffles.
struct Block {
  const Attention* a;
  int64_t b, head;       // of keys
  int64_t row, rows;     // first, and how many count
  int64_t width;         // rows of storage, kLanes or 2 · kLanes
  int64_t group() const { return a->N / a->K; }
  int64_t keyStride() const { return a->K * a->H; }
  const float* key(int64_t s) const { return a->k + ((b * a->capacity + s) * a->K + head) * a->H; }
  const float* value(int64_t s) const { return a->v + ((b * a->capacity + s) * a->K + head) * a->H; }
  // Offset of a row in q and z. Rows behind the last repeat it.
  int64_t query(int64_t i) const {
    const int64_t r = row + least(i, rows - 1);
    return ((b * a->T + r / group()) * a->N + head * group() + r % group()) * a->H;
  }
  // Offset of a row in scores and pattern.
  int64_t pattern(int64_t i) const {
    const int64_t r = row + least(i, rows - 1);
    return ((b * a->N + head * group() + r % group()) * a->T + r / group()) * a->S;
  }
  const float* mask(int64_t i) const {
    return a->mask + (b * a->T + (row + least(i, rows - 1)) / group()) * a->S;
  }
};

// Columns of sums and packed values: H in whole vectors.
inline int64_t columnsOf(const Attention& a) { return roundUp(a.H, kLanes); }

// Memory of one block: queries [H, width], scores [S, width], sums [width, columns], largest [width].
struct BlockMemory {
  float *queries, *scores, *sums, *largest;
  BlockMemory(const Block& block, float* memory)
      : queries(memory),
        scores(queries + block.width * block.a->H),
        sums(scores + block.width * block.a->S),
        largest(sums + block.width * columnsOf(*block.a)) {}
  static int64_t floats(const Attention& a, int64_t width) { return roundUp(width * (a.H + columnsOf(a) + a.S + 1), 16); }
};

}  // namespace
}  // namespace PALIGEMMA_ISA
}  // namespace paligemma
