// What the files of ops share: what an op was made with, and how ops are listed.
#pragma once

#include <cstdint>
#include <vector>

#include "call.h"

namespace paligemma {

// Values that an op was made with.
struct Attributes {
  float scale = 0;
  float softcap = 0;
  float eps = 0;
  int64_t activation = 0;
  int64_t coarse = 0;
  int64_t among = 0;
  int64_t inner = 1;
  int64_t headDim = 0;
  int64_t window = -1;
  int64_t queries = 0;
  float masked = 0;
};

inline const Attributes& of(void* kernel) { return *static_cast<Attributes*>(kernel); }

// One op as TensorFlow is told of it.
struct Op {
  const char* name;
  void (*compute)(void*, TF_OpKernelContext*);
  std::vector<const char*> inputs;
  std::vector<const char*> attributes;
  std::vector<const char*> outputs;
};

std::vector<Op> productOps();
std::vector<Op> weightOps();
std::vector<Op> normOps();
std::vector<Op> pointwiseOps();
std::vector<Op> attentionOps();
std::vector<Op> rowOps();

// The shape with its last `replaced` axes replaced.
inline std::vector<int64_t> withLast(std::vector<int64_t> shape, const std::vector<int64_t>& last, int64_t replaced = 1) {
  shape.resize(shape.size() - static_cast<size_t>(replaced));
  shape.insert(shape.end(), last.begin(), last.end());
  return shape;
}

}  // namespace paligemma
