// Held weights, and the table of embeddings.
#include <cstdlib>

#include "op.h"
#include "stream.h"

namespace paligemma {
namespace {

// ids [...], table [V, D] -> the rows times `scale` [..., D]
void embed(void* kernel, TF_OpKernelContext* context) {
  Call call(context);
  Tensor ids = call.input(0);
  WeightInput table = call.weight(1);
  if (!call.ok()) return;
  for (int64_t i = 0; i < ids.size(); i++) {
    call.require(ids.ints()[i] >= 0 && ids.ints()[i] < table.matrix.rows, "embed: an id is outside the table");
  }
  std::vector<int64_t> shape = ids.shape();
  shape.push_back(table.matrix.cols);
  Tensor y = call.output(shape);
  if (!call.ok()) return;
  float scale = of(kernel).scale;
  Stream::get().enqueue([=](const Kernels& kernels, Pool& pool) {
    kernels.embed(pool, ids.ints(), ids.size(), table.matrix, scale, y.floats());
    spoilUnlessIntact({table}, {y});
  });
}

// A held weight -> its numbers as float [out, in]
void widen(void*, TF_OpKernelContext* context) {
  Call call(context);
  WeightInput w = call.weight(0);
  if (!call.ok()) return;
  Tensor y = call.output({w.matrix.rows, w.matrix.cols});
  if (!call.ok()) return;
  Stream::get().enqueue([=](const Kernels& kernels, Pool& pool) {
    kernels.widen(pool, w.matrix, y.floats());
    spoilUnlessIntact({w}, {y});
  });
}

// The number of a held weight as a tensor that owns the weight: it is freed with the tensor.
void hold(void*, TF_OpKernelContext* context) {
  Call call(context);
  Tensor number = call.input(0);
  if (!call.ok()) return;
  call.require(number.size() == 1, "hold: expected one number");
  // TensorFlow takes memory over only when it is aligned; any other is copied and given back at once.
  void* memory = nullptr;
  call.require(posix_memalign(&memory, 64, 64) == 0, "hold: no room in memory");
  if (!call.ok()) return;
  auto* id = static_cast<int32_t*>(memory);
  *id = number.ints()[0];
  int64_t shape[1] = {1};
  TF_Tensor* tensor = TF_NewTensor(
      TF_INT32, shape, 1, memory, sizeof(int32_t),
      [](void* data, size_t, void*) {
        removeWeight(*static_cast<int32_t*>(data));
        std::free(data);
      },
      nullptr);
  TF_Status* status = TF_NewStatus();
  TF_SetOutput(context, 0, tensor, status);
  if (TF_GetCode(status) != TF_OK) TF_OpKernelContext_Failure(context, status);
  TF_DeleteStatus(status);
  TF_DeleteTensor(tensor);
}

}  // namespace

std::vector<Op> weightOps() {
  const char* W = "W: {int32, float}";
  return {
      {"PaligemmaEmbed", embed, {"ids: int32", "w: W"}, {W, "scale: float"}, {"y: float"}},
      {"PaligemmaWiden", widen, {"w: W"}, {W}, {"y: float"}},
      {"PaligemmaHold", hold, {"id: int32"}, {}, {"w: int32"}},
  };
}

}  // namespace paligemma
