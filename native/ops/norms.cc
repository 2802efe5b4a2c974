// The norms, at once and in their steps.
#include "op.h"
#include "stream.h"

namespace paligemma {
namespace {

// x [..., D], weight [D] -> [..., D]
void rmsNorm(void* kernel, TF_OpKernelContext* context) {
  Call call(context);
  Tensor x = call.input(0), weight = call.input(1);
  if (!call.ok()) return;
  call.require(x.rank() >= 1 && x.dim(-1) == weight.size(), "rmsNorm: the last axis of x is not as long as the weight");
  if (!call.ok()) return;
  Tensor y = call.output(x.shape());
  if (!call.ok()) return;
  float eps = of(kernel).eps;
  Stream::get().enqueue([=](const Kernels& kernels, Pool& pool) {
    kernels.rmsNorm(pool, x.floats(), x.size() / weight.size(), weight.size(), weight.floats(), eps, y.floats());
  });
}

// x [..., D], weight and bias [D] -> [..., D]
void layerNorm(void* kernel, TF_OpKernelContext* context) {
  Call call(context);
  Tensor x = call.input(0), weight = call.input(1), bias = call.input(2);
  if (!call.ok()) return;
  bool fits = x.rank() >= 1 && x.dim(-1) == weight.size() && weight.size() == bias.size();
  call.require(fits, "layerNorm: the last axis of x, the weight and the bias are not equally long");
  if (!call.ok()) return;
  Tensor y = call.output(x.shape());
  if (!call.ok()) return;
  float eps = of(kernel).eps;
  Stream::get().enqueue([=](const Kernels& kernels, Pool& pool) {
    kernels.layerNorm(pool, x.floats(), x.size() / weight.size(), weight.size(), weight.floats(), bias.floats(), eps,
                      y.floats());
  });
}

// x [..., D] -> the divisor of its norm [..., 1]: sqrt(mean(x²) + eps), with `centred` of x - mean(x)
template <bool centred>
void scaleOf(void* kernel, TF_OpKernelContext* context) {
  Call call(context);
  Tensor x = call.input(0);
  if (!call.ok()) return;
  call.require(x.rank() >= 1 && x.dim(-1) > 0, "scale: expected x [..., D]");
  if (!call.ok()) return;
  Tensor scale = call.output(withLast(x.shape(), {1}));
  if (!call.ok()) return;
  float eps = of(kernel).eps;
  int64_t d = x.dim(-1);
  Stream::get().enqueue([=](const Kernels& kernels, Pool& pool) {
    (centred ? kernels.layerScale : kernels.rmsScale)(pool, x.floats(), x.size() / d, d, eps, scale.floats());
  });
}

// x [..., D], scale [..., 1], weight [D], for layers also bias [D] -> [..., D]
void scaled(void*, TF_OpKernelContext* context) {
  Call call(context);
  Tensor x = call.input(0), scale = call.input(1), weight = call.input(2);
  Tensor bias = call.inputs() > 3 ? call.input(3) : Tensor();
  if (!call.ok()) return;
  int64_t d = weight.size();
  bool fits = x.rank() >= 1 && d > 0 && x.dim(-1) == d && scale.size() * d == x.size() && (!bias || bias.size() == d);
  call.require(fits, "scaled: x, scale, weight and bias do not fit");
  if (!call.ok()) return;
  Tensor y = call.output(x.shape());
  if (!call.ok()) return;
  Stream::get().enqueue([=](const Kernels& kernels, Pool& pool) {
    if (bias) {
      kernels.layerScaled(pool, x.floats(), scale.size(), d, scale.floats(), weight.floats(), bias.floats(), y.floats());
    } else {
      kernels.rmsScaled(pool, x.floats(), scale.size(), d, scale.floats(), weight.floats(), y.floats());
    }
  });
}

}  // namespace

std::vector<Op> normOps() {
  return {
      {"PaligemmaRmsNorm", rmsNorm, {"x: float", "weight: float"}, {"eps: float"}, {"y: float"}},
      {"PaligemmaLayerNorm", layerNorm, {"x: float", "weight: float", "bias: float"}, {"eps: float"}, {"y: float"}},
      {"PaligemmaRmsScale", scaleOf<false>, {"x: float"}, {"eps: float"}, {"scale: float"}},
      {"PaligemmaRmsScaled", scaled, {"x: float", "scale: float", "weight: float"}, {}, {"y: float"}},
      {"PaligemmaLayerScale", scaleOf<true>, {"x: float"}, {"eps: float"}, {"scale: float"}},
      {"PaligemmaLayerScaled", scaled, {"x: float", "scale: float", "weight: float", "bias: float"}, {}, {"y: float"}},
  };
}

}  // namespace paligemma
