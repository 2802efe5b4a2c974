// What is done to each number by itself.
#include "op.h"
#include "stream.h"

namespace paligemma {
namespace {

// a and b of one shape -> a + b
void add(void*, TF_OpKernelContext* context) {
  Call call(context);
  Tensor a = call.input(0), b = call.input(1);
  if (!call.ok()) return;
  call.require(a.shape() == b.shape(), "add: the shapes differ");
  if (!call.ok()) return;
  Tensor y = call.output(a.shape());
  if (!call.ok()) return;
  Stream::get().enqueue([=](const Kernels& kernels, Pool& pool) {
    kernels.add(pool, a.floats(), b.floats(), a.size(), y.floats());
  });
}

// x -> gelu_tanh(x)
void gelu(void*, TF_OpKernelContext* context) {
  Call call(context);
  Tensor x = call.input(0);
  if (!call.ok()) return;
  Tensor y = call.output(x.shape());
  if (!call.ok()) return;
  Stream::get().enqueue(
      [=](const Kernels& kernels, Pool& pool) { kernels.gelu(pool, x.floats(), x.size(), y.floats()); });
}

// x -> softcap · tanh(x / softcap)
void softcap(void* kernel, TF_OpKernelContext* context) {
  Call call(context);
  Tensor x = call.input(0);
  if (!call.ok()) return;
  Tensor y = call.output(x.shape());
  if (!call.ok()) return;
  float cap = of(kernel).softcap;
  Stream::get().enqueue([=](const Kernels& kernels, Pool& pool) {
    kernels.softcap(pool, x.floats(), x.size(), cap, y.floats());
  });
}

}  // namespace

std::vector<Op> pointwiseOps() {
  return {
      {"PaligemmaAdd", add, {"a: float", "b: float"}, {}, {"y: float"}},
      {"PaligemmaGelu", gelu, {"x: float"}, {}, {"y: float"}},
      {"PaligemmaSoftcap", softcap, {"x: float"}, {"softcap: float"}, {"y: float"}},
  };
}

}  // namespace paligemma
