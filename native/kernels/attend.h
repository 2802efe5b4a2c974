// Attention with softcap and mask, a block of queries at a time.
#pragma once

#include "attend-scores.h"
#include "attend-values.h"

namespace paligemma {
namespace PALIGEMMA_ISA {
namespace {

void attendBlock(const Block& block, const BlockMemory& memory, const Values& values) {
  packQueries(block, memory.queries);
  scoreBlock(block, memory, 0, block.a->S);
  maskBlock(block, memory);
  softmaxBlock(block, memory);
  weighColumns(block, memory, values, 0, block.a->H);
  storeSums(block, memory);
}

// The same for the only block of one token, by all threads: positions apart, then columns apart. No sum is split, so that
// the result has the same bits.
void attendTogether(Pool& pool, const Block& block, const BlockMemory& memory, const Values& values) {
  const int64_t S = block.a->S, H = block.a->H, threads = pool.threads();
  const int64_t positions = roundUp(ceilDiv(S, threads), kAttendRows), columns = roundUp(ceilDiv(H, threads), 2 * kLanes);
  packQueries(block, memory.queries);
  pool.run(ceilDiv(S, positions), [&](int64_t task, int) {
    scoreBlock(block, memory, task * positions, least(S, (task + 1) * positions));
  });
  maskBlock(block, memory);
  softmaxBlock(block, memory);
  pool.run(ceilDiv(H, columns), [&](int64_t task, int) {
    weighColumns(block, memory, values, task * columns, least(H, (task + 1) * columns));
  });
  storeSums(block, memory);
}

Scratch attendMemory, packedValues;

// Calls body(values) with the values as the blocks of `a` read them.
template <typename Body>
void withValues(Pool& pool, const Attention& a, const Body& body) {
  if (!Values::packs(a)) return body(Values(nullptr));
  float* packed = reinterpret_cast<float*>(packedValues.need(Values::floats(a) * int64_t{sizeof(float)}));
  const int64_t pieces = ceilDiv(a.S, kPositions);
  pool.run(a.B * a.K * pieces, [&](int64_t task, int) {
    const int64_t outer = task / pieces;
    packPiece({&a, outer / a.K, outer % a.K, 0, 0, 0}, task % pieces * kPositions, packed);
  });
  body(Values(packed));
  packedValues.trim();
}

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
  const bool together = a.B * a.K == 1 && rows <= kLanes && a.S >= kTogether && pool.threads() > 1;
  withValues(pool, a, [&](const Values& values) {
    if (!together) {
      const auto attendOne = [&](const Block& block, const BlockMemory& memory) { attendBlock(block, memory, values); };
      return forAttendBlocks(pool, a, attendOne);
    }
    const Block block = {&a, 0, 0, 0, rows, kLanes};
    const int64_t bytes = BlockMemory::floats(a, kLanes) * int64_t{sizeof(float)};
    attendTogether(pool, block, BlockMemory(block, reinterpret_cast<float*>(attendMemory.need(bytes))), values);
    attendMemory.trim();
  });
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
  withValues(pool, a, [&](const Values& values) {
    forAttendBlocks(pool, a, [&](const Block& block, const BlockMemory& memory) {
      for (int64_t i = 0; i < block.width; i++) {
        const float* row = pattern + block.pattern(i);
        for (int64_t s = 0; s < a.S; s++) memory.scores[s * block.width + i] = row[s];
      }
      weighColumns(block, memory, values, 0, a.H);
      storeSums(block, memory);
    });
  });
}

}  // namespace
}  // namespace PALIGEMMA_ISA
}  // namespace paligemma
