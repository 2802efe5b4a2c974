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

// Memory of one block: queries [H, width], scores [S, width], sums [width, H], largest [width].
struct BlockMemory {
  float *queries, *scores, *sums, *largest;
  BlockMemory(const Block& block, float* memory)
      : queries(memory),
        scores(queries + block.width * block.a->H),
        sums(scores + block.width * block.a->S),
        largest(sums + block.width * block.a->H) {}
  static int64_t floats(const Attention& a, int64_t width) { return roundUp(width * (2 * a.H + a.S + 1), 16); }
};

// queries[h][i] = q of row i.
void packQueries(const Block& block, float* queries) {
  const int64_t H = block.a->H;
  for (int64_t i = 0; i < block.width; i++) {
    const float* q = block.a->q + block.query(i);
    for (int64_t h = 0; h < H; h++) queries[h * block.width + i] = q[h];
  }
}

// Positions of one head lie a page apart where there are several heads, which no hardware prefetcher follows.
constexpr int64_t kValuesAhead = 16;

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
        open[i] = count == kLanes ? load(rows[i] + s) : loadSome<Floats>(rows[i] + s, count);
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

// sums[i][h] (+)= Σₛ scores[s][i] · value[s][h] for kAttendRows rows and V vectors of h (or the first `count` of one).
template <int V>
PALIGEMMA_INLINE void valueTile(const float* scores, int64_t width, const float* value, int64_t stride,
                                int64_t positions, bool first, float* sums, int64_t H, int64_t count) {
  Floats tile[kAttendRows][V] = {};
  const auto read = [count](const float* p) { return V > 1 || count >= kLanes ? load(p) : loadSome<Floats>(p, count); };
  for (int64_t s = 0; s < positions; s++) {
    Floats v[V];
#pragma GCC unroll 2
    for (int j = 0; j < V; j++) {
      v[j] = read(value + s * stride + j * kLanes);
      __builtin_prefetch(value + (s + kValuesAhead) * stride + j * kLanes);
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
      float* at = sums + i * H + j * kLanes;
      storeSome(at, first ? tile[i][j] : tile[i][j] + read(at), V > 1 ? kLanes : count);
    }
  }
}

// sums = pattern · values for the columns [from, to) of H, whole steps of two vectors but for the last.
__attribute__((noinline)) void weighColumns(const Block& block, const BlockMemory& memory, int64_t from, int64_t to) {
  const int64_t H = block.a->H, S = block.a->S, width = block.width, stride = block.keyStride();
  const int64_t used = roundUp(block.rows, kAttendRows);
  for (int64_t s = 0; s < S; s += kPositions) {
    const int64_t positions = least(kPositions, S - s);
    const float *pattern = memory.scores + s * width, *value = block.value(s);
    const bool first = s == 0;
    for (int64_t h = from; h < to;) {
      const int64_t step = H - h >= 2 * kLanes ? 2 * kLanes : least(kLanes, H - h);
      for (int64_t i = 0; i < used; i += kAttendRows) {
        float* sums = memory.sums + i * H + h;
        if (step > kLanes) {
          valueTile<2>(pattern + i, width, value + h, stride, positions, first, sums, H, kLanes);
        } else {
          valueTile<1>(pattern + i, width, value + h, stride, positions, first, sums, H, step);
        }
      }
      h += step;
    }
  }
}

void storeSums(const Block& block, const BlockMemory& memory) {
  for (int64_t i = 0; i < block.rows; i++) {
    __builtin_memcpy(block.a->z + block.query(i), memory.sums + i * block.a->H, block.a->H * sizeof(float));
  }
}

void attendBlock(const Block& block, const BlockMemory& memory) {
  packQueries(block, memory.queries);
  scoreBlock(block, memory, 0, block.a->S);
  maskBlock(block, memory);
  softmaxBlock(block, memory);
  weighColumns(block, memory, 0, block.a->H);
  storeSums(block, memory);
}

// The same for the only block of one token, by all threads: positions apart, then columns apart. No sum is split, so that
// the result has the same bits.
void attendTogether(Pool& pool, const Block& block, const BlockMemory& memory) {
  const int64_t S = block.a->S, H = block.a->H, threads = pool.threads();
  const int64_t positions = roundUp(ceilDiv(S, threads), kAttendRows), columns = roundUp(ceilDiv(H, threads), 2 * kLanes);
  packQueries(block, memory.queries);
  pool.run(ceilDiv(S, positions), [&](int64_t task, int) {
    scoreBlock(block, memory, task * positions, least(S, (task + 1) * positions));
  });
  maskBlock(block, memory);
  softmaxBlock(block, memory);
  pool.run(ceilDiv(H, columns), [&](int64_t task, int) {
    weighColumns(block, memory, task * columns, least(H, (task + 1) * columns));
  });
  storeSums(block, memory);
}

Scratch attendMemory;

// Below so many positions one thread is as fast as several that must meet.
constexpr int64_t kTogether = 256;

// Calls body(block, its memory) for every block of rows, on the threads of the pool.
template <typename Body>
void forAttendBlocks(Pool& pool, const Attention& a, const Body& body) {
  const int64_t rows = a.T * (a.N / a.K), width = rows <= kLanes ? kLanes : 2 * kLanes, blocks = ceilDiv(rows, width);
  const int64_t floats = BlockMemory::floats(a, width);
  float* memory = reinterpret_cast<float*>(attendMemory.need(pool.threads() * floats * int64_t{sizeof(float)}));
  pool.run(a.B * a.K * blocks, [&](int64_t task, int thread) {
    const int64_t row = task % blocks * width, outer = task / blocks;
    const Block block = {&a, outer / a.K, outer % a.K, row, least(width, rows - row), width};
    body(block, BlockMemory(block, memory + thread * floats));
  });
  attendMemory.trim();
}

bool isEmpty(const Attention& a) { return a.B * a.T * a.N * a.H <= 0 || a.S <= 0; }

void attend(Pool& pool, const Attention& a) {
  if (isEmpty(a)) return;
  const int64_t rows = a.T * (a.N / a.K);
  if (a.B * a.K == 1 && rows <= kLanes && a.S >= kTogether && pool.threads() > 1) {
    const Block block = {&a, 0, 0, 0, rows, kLanes};
    const int64_t bytes = BlockMemory::floats(a, kLanes) * int64_t{sizeof(float)};
    attendTogether(pool, block, BlockMemory(block, reinterpret_cast<float*>(attendMemory.need(bytes))));
    return attendMemory.trim();
  }
  forAttendBlocks(pool, a, [](const Block& block, const BlockMemory& memory) { attendBlock(block, memory); });
}

void scores(Pool& pool, const Attention& a) {
  if (isEmpty(a)) return;
  forAttendBlocks(pool, a, [&](const Block& block, const BlockMemory& memory) {
    packQueries(block, memory.queries);
    scoreBlock(block, memory, 0, a.S);
    maskBlock(block, memory);
    for (int64_t i = 0; i < block.rows; i++) {
      float* row = a.z + block.pattern(i);
      for (int64_t s = 0; s < a.S; s++) row[s] = memory.scores[s * block.width + i];
    }
  });
}

void softmax(Pool& pool, const float* x, int64_t m, int64_t S, float* y) {
  const int64_t floats = roundUp((S + 1) * kLanes, 16);
  float* memory = reinterpret_cast<float*>(attendMemory.need(pool.threads() * floats * int64_t{sizeof(float)}));
  pool.run(ceilDiv(m, kLanes), [&](int64_t task, int thread) {
    float *mine = memory + thread * floats, *largest = mine + S * kLanes;
    const int64_t first = task * kLanes, rows = least(kLanes, m - first);
    for (int64_t i = 0; i < kLanes; i++) {
      const float* row = x + (first + least(i, rows - 1)) * S;
      float top = -__builtin_inff();
      for (int64_t s = 0; s < S; s++) {
        mine[s * kLanes + i] = row[s];
        if (row[s] > top) top = row[s];
      }
      largest[i] = top;
    }
    exponentiate(S, kLanes, mine, largest);
    for (int64_t i = 0; i < rows; i++) {
      for (int64_t s = 0; s < S; s++) y[(first + i) * S + s] = mine[s * kLanes + i];
    }
  });
  attendMemory.trim();
}

void mix(Pool& pool, const float* pattern, const Attention& a) {
  if (isEmpty(a)) return;
  forAttendBlocks(pool, a, [&](const Block& block, const BlockMemory& memory) {
    for (int64_t i = 0; i < block.width; i++) {
      const float* row = pattern + block.pattern(i);
      for (int64_t s = 0; s < a.S; s++) memory.scores[s * block.width + i] = row[s];
    }
    weighColumns(block, memory, 0, a.H);
    storeSums(block, memory);
  });
}

}  // namespace
}  // namespace PALIGEMMA_ISA
}  // namespace paligemma
