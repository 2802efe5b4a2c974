// Scores of a block of queries, capped and masked, and their softmax.
#pragma once

#include "attend-block.h"

namespace paligemma {
namespace PALIGEMMA_ISA {
namespace {

// queries[h][i] = q of row i.
void packQueries(const Block& block, float* queries) {
  const int64_t H = block.a->H;
  for (int64_t i = 0; i < block.width; i += kLanes) {
    const float* rows[kLanes];
    for (int j = 0; j < kLanes; j++) rows[j] = block.a->q + block.query(i + j);
    for (int64_t h = 0; h < H; h += kLanes) {
      const int64_t count = least(kLanes, H - h);
      Floats square[kLanes];
#pragma GCC unroll 16
      for (int j = 0; j < kLanes; j++) square[j] = loadSome<Floats>(rows[j] + h, count);
      transpose(square);
#pragma GCC unroll 16
      for (int j = 0; j < kLanes; j++) {
        if (j < count) store(queries + (h + j) * block.width + i, square[j]);
      }
    }
  }
}

// scores[s][i] = key s · query i for M positions; fetches the next M.
template <int M, int V>
PALIGEMMA_INLINE void scoreTile(const float* key, int64_t stride, const float* queries, int64_t H, float* scores) {
  Floats sums[M][V] = {};
  for (int64_t h = 0; h < H; h++) {
    if (h % 16 == 0) {
      for (int s = 0; s < M; s++) __builtin_prefetch(key + (M + s) * stride + h);
    }
#pragma GCC unroll 8
    for (int s = 0; s < M; s++) {
      const Floats one = splat(key[s * stride + h]);
#pragma GCC unroll 2
      for (int j = 0; j < V; j++) sums[s][j] += one * load(queries + (h * V + j) * kLanes);
    }
  }
#pragma GCC unroll 8
  for (int s = 0; s < M; s++) {
#pragma GCC unroll 2
    for (int j = 0; j < V; j++) store(scores + (s * V + j) * kLanes, sums[s][j]);
  }
}

// Scores of the positions [begin, end).
template <int V>
void scorePositions(const Block& block, const BlockMemory& memory, int64_t begin, int64_t end) {
  const int64_t H = block.a->H, stride = block.keyStride();
  float* scores = memory.scores + begin * block.width;
  int64_t s = begin;
  for (; s + kAttendRows <= end; s += kAttendRows, scores += kAttendRows * V * kLanes) {
    scoreTile<kAttendRows, V>(block.key(s), stride, memory.queries, H, scores);
  }
  for (; s < end; s++, scores += V * kLanes) scoreTile<1, V>(block.key(s), stride, memory.queries, H, scores);
}

void scoreBlock(const Block& block, const BlockMemory& memory, int64_t begin, int64_t end) {
  (block.width == kLanes ? scorePositions<1> : scorePositions<2>)(block, memory, begin, end);
}

// Scales, caps and masks the scores of one vector of rows, and finds the largest of each row.
template <bool capped, bool masked>
void maskScores(const Block& block, int64_t lane, float* scores, float* largest) {
  const Attention& a = *block.a;
  const float *rows[kLanes], cap = a.softcap;
  for (int i = 0; i < kLanes; i++) rows[i] = masked ? block.mask(lane + i) : nullptr;
  Floats top = splat(-__builtin_inff());
  for (int64_t s = 0; s < a.S; s += kLanes) {
    const int64_t count = least(kLanes, a.S - s);
    Floats open[kLanes];
    if (masked) {
#pragma GCC unroll 16
      for (int i = 0; i < kLanes; i++) {
        open[i] = loadSome<Floats>(rows[i] + s, count);
      }
      transpose(open);
    }
    for (int64_t i = 0; i < count; i++) {
      float* at = scores + (s + i) * block.width + lane;
      Floats v = load(at) * a.scale;
      if (capped) v = cap * tanh(v / cap);
      if (masked) v += open[i];
      top = larger(v, top);
      store(at, v);
    }
  }
  store(largest + lane, top);
}

// scores = exp(scores - largest) / total: the pattern. Totals are formed piece by piece: shorter chains lose less.
__attribute__((noinline)) void exponentiate(int64_t positions, int64_t width, float* scores, const float* largest) {
  const Floats top = load(largest);
  Floats total = {};
  for (int64_t begin = 0; begin < positions; begin += kPositions) {
    Floats part = {};
    for (int64_t s = begin; s < least(positions, begin + kPositions); s++) {
      const Floats e = exp(load(scores + s * width) - top);
      part += e;
      store(scores + s * width, e);
    }
    total += part;
  }
  const Floats inverse = 1.f / total;
  for (int64_t s = 0; s < positions; s++) store(scores + s * width, load(scores + s * width) * inverse);
}

void maskBlock(const Block& block, const BlockMemory& memory) {
  const bool capped = block.a->softcap > 0, masked = block.a->mask != nullptr;
  const auto run = capped ? (masked ? maskScores<true, true> : maskScores<true, false>)
                          : (masked ? maskScores<false, true> : maskScores<false, false>);
  for (int64_t lane = 0; lane < block.width; lane += kLanes) run(block, lane, memory.scores, memory.largest);
}

void softmaxBlock(const Block& block, const BlockMemory& memory) {
  for (int64_t lane = 0; lane < block.width; lane += kLanes) {
    exponentiate(block.a->S, block.width, memory.scores + lane, memory.largest + lane);
  }
}

}  // namespace
}  // namespace PALIGEMMA_ISA
}  // namespace paligemma
