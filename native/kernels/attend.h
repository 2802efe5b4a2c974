// Attention with softcap and mask, a block of queries at a time.
#pragma once

#include "gemv.h"

namespace paligemma {
namespace PALIGEMMA_ISA {
namespace {

// Rows of the register tile; two vectors wide, it fits the registers as the tile of the linear kernel does.
constexpr int kAttendRows = kLanes == 16 ? 8 : 4;
// Positions whose weighted values are summed before they join the total: bounds the error, and keeps both in cache.
constexpr int64_t kPositions = 256;

// The rows of one block are the pairs (t, g) of a query's position and its head among the G that share a key head, t
// major. A vector holds one score of each of its rows, so that the softmax is a loop over positions without shuffles.
struct Block {
  const Attention* a;
  int64_t b, head;       // of keys
  int64_t row, rows;     // first, and how many count
  int64_t width;         // rows of storage, kLanes or 2 · kLanes
  int64_t begin, end;    // positions
  int64_t group() const { return a->N / a->K; }
  int64_t keyStride() const { return a->K * a->H; }
  const float* key(int64_t s) const { return a->k + ((b * a->capacity + s) * a->K + head) * a->H; }
  const float* value(int64_t s) const { return a->v + ((b * a->capacity + s) * a->K + head) * a->H; }
  // Offset of a row in q and z. Rows behind the last repeat it.
  int64_t query(int64_t i) const {
    const int64_t r = row + least(i, rows - 1);
    return ((b * a->T + r / group()) * a->N + head * group() + r % group()) * a->H;
  }
  const float* mask(int64_t i) const {
    return a->mask + (b * a->T + (row + least(i, rows - 1)) / group()) * a->S;
  }
};

// Memory of one block: queries [H, width], scores [positions, width], sums [width, H], largest and total [width].
struct BlockMemory {
  float *queries, *scores, *sums, *largest, *total;
};

// queries[h][i] = q of row i.
void packQueries(const Block& block, float* queries) {
  const int64_t H = block.a->H;
  for (int64_t i = 0; i < block.width; i++) {
    const float* q = block.a->q + block.query(i);
    for (int64_t h = 0; h < H; h++) queries[h * block.width + i] = q[h];
  }
}

// scores[s][i] = key s · query i for M positions.
template <int M, int V>
PALIGEMMA_INLINE void scoreTile(const float* key, int64_t stride, const float* queries, int64_t H, float* scores) {
  Floats sums[M][V] = {};
  for (int64_t h = 0; h < H; h++) {
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

template <int V>
void scoreBlock(const Block& block, const float* queries, float* scores) {
  const int64_t H = block.a->H, stride = block.keyStride();
  int64_t s = block.begin;
  for (; s + kAttendRows <= block.end; s += kAttendRows, scores += kAttendRows * V * kLanes) {
    scoreTile<kAttendRows, V>(block.key(s), stride, queries, H, scores);
  }
  for (; s < block.end; s++, scores += V * kLanes) scoreTile<1, V>(block.key(s), stride, queries, H, scores);
}

// Scales, caps and masks the scores of one vector of rows, and finds the largest of each row.
template <bool capped, bool masked>
void maskScores(const Block& block, int64_t lane, float* scores, float* largest) {
  const Attention& a = *block.a;
  const float *rows[kLanes], cap = a.softcap;
  for (int i = 0; i < kLanes; i++) rows[i] = masked ? block.mask(lane + i) : nullptr;
  Floats top = splat(-__builtin_inff());
  for (int64_t s = block.begin; s < block.end; s += kLanes) {
    const int64_t count = least(kLanes, block.end - s);
    Floats open[kLanes];
    if (masked) {
#pragma GCC unroll 16
      for (int i = 0; i < kLanes; i++) open[i] = count == kLanes ? load(rows[i] + s) : loadSome<Floats>(rows[i] + s, count);
      transpose(open);
    }
    for (int64_t i = 0; i < count; i++) {
      float* at = scores + (s - block.begin + i) * block.width + lane;
      Floats v = load(at) * a.scale;
      if (capped) v = cap * tanh(v / cap);
      if (masked) v += open[i];
      top = larger(v, top);
      store(at, v);
    }
  }
  store(largest + lane, top);
}

// scores = exp(scores - largest), and their total.
void exponentiate(const Block& block, int64_t lane, float* scores, const float* largest, float* total) {
  const Floats top = load(largest + lane);
  const int64_t positions = block.end - block.begin;
  Floats all = {};
  for (int64_t begin = 0; begin < positions; begin += kPositions) {
    Floats part = {};
    for (int64_t s = begin; s < least(positions, begin + kPositions); s++) {
      float* at = scores + s * block.width + lane;
      const Floats e = exp(load(at) - top);
      part += e;
      store(at, e);
    }
    all += part;
  }
  store(total + lane, all);
}

void softmaxBlock(const Block& block, const BlockMemory& memory) {
  const bool capped = block.a->softcap > 0, masked = block.a->mask != nullptr;
  const auto run = capped ? (masked ? maskScores<true, true> : maskScores<true, false>)
                          : (masked ? maskScores<false, true> : maskScores<false, false>);
  for (int64_t lane = 0; lane < block.width; lane += kLanes) {
    run(block, lane, memory.scores, memory.largest);
    exponentiate(block, lane, memory.scores, memory.largest, memory.total);
  }
}

// sums[i][h] (+)= Σₛ scores[s][i] · value[s][h] for kAttendRows rows and V vectors of h (or the first `count` of one).
template <int V>
PALIGEMMA_INLINE void valueTile(const float* scores, int64_t width, const float* value, int64_t stride,
                                int64_t positions, bool first, float* sums, int64_t H, int64_t count) {
  Floats tile[kAttendRows][V] = {};
  const auto read = [count](const float* p) { return V > 1 || count >= kLanes ? load(p) : loadSome<Floats>(p, count); };
  for (int64_t s = 0; s < positions; s++) {
    Floats v[V];
#pragma GCC unroll 2
    for (int j = 0; j < V; j++) v[j] = read(value + s * stride + j * kLanes);
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
      float* at = sums + i * H + j * kLanes;
      storeSome(at, first ? tile[i][j] : tile[i][j] + read(at), V > 1 ? kLanes : count);
    }
  }
}

void weighValues(const Block& block, const BlockMemory& memory) {
  const int64_t H = block.a->H, width = block.width, stride = block.keyStride();
  const int64_t used = roundUp(block.rows, kAttendRows);
  for (int64_t s = block.begin; s < block.end; s += kPositions) {
    const int64_t positions = least(kPositions, block.end - s);
    const float *scores = memory.scores + (s - block.begin) * width, *value = block.value(s);
    const bool first = s == block.begin;
    for (int64_t h = 0; h < H;) {
      const int64_t step = H - h >= 2 * kLanes ? 2 * kLanes : least(kLanes, H - h);
      for (int64_t i = 0; i < used; i += kAttendRows) {
        float* sums = memory.sums + i * H + h;
        if (step > kLanes) {
          valueTile<2>(scores + i, width, value + h, stride, positions, first, sums, H, kLanes);
        } else {
          valueTile<1>(scores + i, width, value + h, stride, positions, first, sums, H, step);
        }
      }
      h += step;
    }
  }
}

void attendBlock(const Block& block, const BlockMemory& memory) {
  packQueries(block, memory.queries);
  if (block.width == kLanes) {
    scoreBlock<1>(block, memory.queries, memory.scores);
  } else {
    scoreBlock<2>(block, memory.queries, memory.scores);
  }
  softmaxBlock(block, memory);
  weighValues(block, memory);
}

// How the work is divided: blocks of rows, and where they are few (one token at a time) pieces of the positions, whose
// results are joined afterwards.
struct AttendPlan {
  int64_t width, blocks, tasks, pieces, positions;
  int64_t sumsFloats, memoryFloats;

  AttendPlan(const Attention& a, int threads) {
    const int64_t rows = a.T * (a.N / a.K);
    width = rows <= kLanes ? kLanes : 2 * kLanes;
    blocks = ceilDiv(rows, width);
    tasks = a.B * a.K * blocks;
    pieces = tasks >= threads ? 1 : most(1, least(ceilDiv(2 * threads, tasks), a.S / 128));
    positions = ceilDiv(a.S, pieces);
    pieces = ceilDiv(a.S, positions);
    sumsFloats = roundUp(width * (a.H + 2), 16);  // sums, largest and total
    memoryFloats = roundUp(width * (a.H + positions), 16);
  }
};

// z = sums / total over the pieces of one block, each weighted by its largest score.
void joinPieces(const Block& block, const AttendPlan& plan, const float* results) {
  const int64_t H = block.a->H;
  for (int64_t i = 0; i < block.rows; i++) {
    float top = -__builtin_inff(), total = 0;
    for (int64_t p = 0; p < plan.pieces; p++) {
      const float largest = results[p * plan.sumsFloats + plan.width * H + i];
      if (!(largest <= top)) top = largest;
    }
    float* z = block.a->z + block.query(i);
    for (int64_t p = 0; p < plan.pieces; p++) {
      const float *sums = results + p * plan.sumsFloats, *largest = sums + plan.width * H, *totals = largest + plan.width;
      const float weight = plan.pieces == 1 ? 1.f : exp(splat(largest[i] - top))[0];
      total += weight * totals[i];
      mapRow(H, z, [=](int64_t h, auto read) {
        const Floats v = read(sums + i * H + h) * weight;
        return p ? read(z + h) + v : v;
      });
    }
    const float scale = 1.f / total;
    mapRow(H, z, [=](int64_t h, auto read) { return read(z + h) * scale; });
  }
}

Scratch attendMemory;

void attend(Pool& pool, const Attention& a) {
  if (a.B * a.T * a.N * a.H <= 0 || a.S <= 0) return;
  const AttendPlan plan(a, pool.threads());
  const int64_t results = plan.pieces == 1 ? pool.threads() : plan.tasks * plan.pieces;
  float* memory = reinterpret_cast<float*>(
      attendMemory.need((pool.threads() * plan.memoryFloats + results * plan.sumsFloats) * int64_t{sizeof(float)}));
  float* sums = memory + pool.threads() * plan.memoryFloats;
  const auto blockOf = [&](int64_t task, int64_t piece) {
    const int64_t rows = a.T * (a.N / a.K), row = task % plan.blocks * plan.width, outer = task / plan.blocks;
    return Block{&a,         outer / a.K,      outer % a.K,             row,
                 least(plan.width, rows - row), plan.width, piece * plan.positions,
                 least(a.S, (piece + 1) * plan.positions)};
  };
  pool.run(plan.tasks * plan.pieces, [&](int64_t task, int thread) {
    const Block block = blockOf(task / plan.pieces, task % plan.pieces);
    float *mine = memory + thread * plan.memoryFloats, *result = sums + (plan.pieces == 1 ? thread : task) * plan.sumsFloats;
    float* largest = result + plan.width * a.H;
    attendBlock(block, {mine, mine + plan.width * a.H, result, largest, largest + plan.width});
    if (plan.pieces == 1) joinPieces(block, plan, result);
  });
  for (int64_t task = 0; plan.pieces > 1 && task < plan.tasks; task++) {
    joinPieces(blockOf(task, 0), plan, sums + task * plan.pieces * plan.sumsFloats);
  }
  attendMemory.trim();
}

}  // namespace
}  // namespace PALIGEMMA_ISA
}  // namespace paligemma
