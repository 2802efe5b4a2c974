// Products with weights: alone, several at once, and the MLPs.
#include <algorithm>

#include "op.h"
#include "stream.h"

namespace paligemma {
namespace {

// The sizes of the last `inner` axes, multiplied; 0 where there are not as many.
int64_t innerSize(const Tensor& x, int64_t inner) {
  if (inner < 1 || inner > x.rank()) return 0;
  int64_t size = 1;
  for (int axis = 1; axis <= inner; axis++) size *= x.dim(-axis);
  return size;
}

// x [..., in], where `inner` axes are in's, w [out, in], bias [out] -> activation(x·Wᵀ + bias) [..., out]
void linear(void* kernel, TF_OpKernelContext* context) {
  Call call(context);
  Tensor x = call.input(0);
  WeightInput w = call.weight(1);
  Tensor bias = call.inputs() > 2 ? call.input(2) : Tensor();
  if (!call.ok()) return;
  const Attributes& attributes = of(kernel);
  call.require(innerSize(x, attributes.inner) == w.matrix.cols, "linear: the last axis of x is not that of the weight");
  call.require(!bias || bias.size() == w.matrix.rows, "linear: the bias is not as long as the weight has rows");
  if (!call.ok()) return;
  Tensor y = call.output(withLast(x.shape(), {w.matrix.rows}, attributes.inner));
  if (!call.ok()) return;
  auto activation = static_cast<Activation>(attributes.activation);
  bool coarse = attributes.coarse != 0;
  Stream::get().enqueue([=](const Kernels& kernels, Pool& pool) {
    const Product product = {w.matrix, bias ? bias.floats() : nullptr, y.floats()};
    kernels.linear(pool, x.floats(), x.size() / w.matrix.cols, &product, 1, activation, coarse);
    spoilUnlessIntact({w}, {y});
  });
}

// x [..., D], three weights [heads · headDim, D] and, where they have them, their biases -> x·Wᵀ + bias, each [..., heads, headDim]
void heads(void* kernel, TF_OpKernelContext* context) {
  constexpr int kCount = 3;
  static_assert(kCount <= kMaxProducts, "one product for each output");
  Call call(context);
  Tensor x = call.input(0), biases[kCount], outputs[kCount];
  WeightInput weights[kCount];
  const int64_t headDim = of(kernel).headDim;
  for (int i = 0; i < kCount && call.ok(); i++) {
    weights[i] = call.weight(1 + i);
    if (call.inputs() > 1 + kCount) biases[i] = call.input(1 + kCount + i);
    if (!call.ok()) return;
    const Matrix& w = weights[i].matrix;
    call.require(innerSize(x, 1) == w.cols, "heads: the last axis of x is not that of the weights");
    call.require(w.dtype == weights[0].matrix.dtype, "heads: the weights are of different types");
    call.require(headDim > 0 && w.rows % headDim == 0, "heads: a weight has not whole heads of rows");
    call.require(!biases[i] || biases[i].size() == w.rows, "heads: a bias is not as long as its weight has rows");
    if (call.ok()) outputs[i] = call.output(withLast(x.shape(), {w.rows / headDim, headDim}), i);
  }
  if (!call.ok()) return;
  bool coarse = of(kernel).coarse != 0;
  Stream::get().enqueue([=](const Kernels& kernels, Pool& pool) {
    Product products[kCount];
    for (int i = 0; i < kCount; i++) {
      products[i] = {weights[i].matrix, biases[i] ? biases[i].floats() : nullptr, outputs[i].floats()};
    }
    kernels.linear(pool, x.floats(), x.size() / weights[0].matrix.cols, products, kCount, Activation::kNone, coarse);
    spoilUnlessIntact({weights[0], weights[1], weights[2]}, {outputs[0], outputs[1], outputs[2]});
  });
}

// x [..., D], gate and up [F, D], down [D, F] -> [..., D]
void gatedMlp(void* kernel, TF_OpKernelContext* context) {
  Call call(context);
  Tensor x = call.input(0);
  WeightInput gate = call.weight(1), up = call.weight(2), down = call.weight(3);
  if (!call.ok()) return;
  int64_t d = gate.matrix.cols, f = gate.matrix.rows;
  bool fits = up.matrix.cols == d && up.matrix.rows == f && down.matrix.cols == f && down.matrix.rows == d;
  call.require(x.rank() >= 1 && x.dim(-1) == d && fits, "gatedMlp: the sizes of x, gate, up and down do not fit");
  call.require(gate.matrix.dtype == up.matrix.dtype, "gatedMlp: gate and up are of different types");
  if (!call.ok()) return;
  Tensor y = call.output(x.shape());
  if (!call.ok()) return;
  bool coarse = of(kernel).coarse != 0;
  int64_t m = x.size() / d, among = std::max(m, of(kernel).among);
  Stream::get().enqueue([=](const Kernels& kernels, Pool& pool) {
    kernels.gatedMlp(pool, x.floats(), m, among, gate.matrix, up.matrix, down.matrix, coarse, y.floats());
    spoilUnlessIntact({gate, up, down}, {y});
  });
}

// x [..., D], fc1 [F, D], bias1 [F], fc2 [D, F], bias2 [D] -> [..., D]
void mlp(void* kernel, TF_OpKernelContext* context) {
  Call call(context);
  Tensor x = call.input(0), bias1 = call.input(2), bias2 = call.input(4);
  WeightInput fc1 = call.weight(1), fc2 = call.weight(3);
  if (!call.ok()) return;
  int64_t d = fc1.matrix.cols, f = fc1.matrix.rows;
  bool fits = fc2.matrix.cols == f && fc2.matrix.rows == d && bias1.size() == f && bias2.size() == d;
  call.require(x.rank() >= 1 && x.dim(-1) == d && fits, "mlp: the sizes of x, fc1, fc2 and the biases do not fit");
  if (!call.ok()) return;
  Tensor y = call.output(x.shape());
  if (!call.ok()) return;
  bool coarse = of(kernel).coarse != 0;
  Stream::get().enqueue([=](const Kernels& kernels, Pool& pool) {
    const Product second = {fc2.matrix, bias2.floats(), y.floats()};
    kernels.mlp(pool, x.floats(), x.size() / d, fc1.matrix, bias1.floats(), second, coarse);
    spoilUnlessIntact({fc1, fc2}, {y});
  });
}

}  // namespace

std::vector<Op> productOps() {
  const char *W = "W: {int32, float}", *U = "U: {int32, float}", *V = "V: {int32, float}";
  return {
      {"PaligemmaLinear", linear, {"x: float", "w: W"}, {W, "activation: int", "coarse: int", "inner: int"}, {"y: float"}},
      {"PaligemmaLinearBias", linear, {"x: float", "w: W", "bias: float"},
       {W, "activation: int", "coarse: int", "inner: int"}, {"y: float"}},
      {"PaligemmaHeads", heads, {"x: float", "q: W", "k: U", "v: V"}, {W, U, V, "headDim: int", "coarse: int"},
       {"yq: float", "yk: float", "yv: float"}},
      {"PaligemmaHeadsBias", heads,
       {"x: float", "q: W", "k: U", "v: V", "q_bias: float", "k_bias: float", "v_bias: float"},
       {W, U, V, "headDim: int", "coarse: int"}, {"yq: float", "yk: float", "yv: float"}},
      {"PaligemmaGatedMlp", gatedMlp, {"x: float", "gate: W", "up: U", "down: V"},
       {W, U, V, "coarse: int", "among: int"}, {"y: float"}},
      {"PaligemmaMlp", mlp, {"x: float", "fc1: W", "bias1: float", "fc2: U", "bias2: float"}, {W, U, "coarse: int"},
       {"y: float"}},
  };
}

}  // namespace paligemma
