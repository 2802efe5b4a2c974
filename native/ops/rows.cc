// Rows that are picked out of others.
#include <cstring>

#include "op.h"
#include "stream.h"

namespace paligemma {
namespace {

// x [B, T, D] -> the last of each row [B, 1, D]
void lastRow(void*, TF_OpKernelContext* context) {
  Call call(context);
  Tensor x = call.input(0);
  if (!call.ok()) return;
  call.require(x.rank() == 3 && x.dim(1) > 0, "lastRow: expected x [B, T, D]");
  if (!call.ok()) return;
  int64_t B = x.dim(0), T = x.dim(1), D = x.dim(2);
  Tensor y = call.output({B, 1, D});
  if (!call.ok()) return;
  Stream::get().enqueue([=](const Kernels&, Pool&) {
    for (int64_t b = 0; b < B; b++) {
      std::memcpy(y.floats() + b * D, x.floats() + (b * T + T - 1) * D, static_cast<size_t>(D) * sizeof(float));
    }
  });
}

// first and second [..., D], index [...] of their rows, counted through -> those rows [..., D]
void pick(void*, TF_OpKernelContext* context) {
  Call call(context);
  Tensor first = call.input(0), second = call.input(1), index = call.input(2);
  if (!call.ok()) return;
  bool fits = first.rank() >= 1 && second.rank() >= 1 && first.dim(-1) == second.dim(-1) && first.dim(-1) > 0;
  call.require(fits, "pick: the last axes of the tables differ");
  if (!call.ok()) return;
  int64_t D = first.dim(-1), firstRows = first.size() / D, rows = firstRows + second.size() / D;
  for (int64_t i = 0; i < index.size(); i++) {
    call.require(index.ints()[i] >= 0 && index.ints()[i] < rows, "pick: an index is outside the tables");
  }
  std::vector<int64_t> shape = index.shape();
  shape.push_back(D);
  Tensor y = call.output(shape);
  if (!call.ok()) return;
  Stream::get().enqueue([=](const Kernels&, Pool&) {
    for (int64_t i = 0; i < index.size(); i++) {
      const int64_t row = index.ints()[i];
      const float* from = row < firstRows ? first.floats() + row * D : second.floats() + (row - firstRows) * D;
      std::memcpy(y.floats() + i * D, from, static_cast<size_t>(D) * sizeof(float));
    }
  });
}

}  // namespace

std::vector<Op> rowOps() {
  return {
      {"PaligemmaLastRow", lastRow, {"x: float"}, {}, {"y: float"}},
      {"PaligemmaPick", pick, {"first: float", "second: float", "index: int32"}, {}, {"y: float"}},
  };
}

}  // namespace paligemma
