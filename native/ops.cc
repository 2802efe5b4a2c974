#include "ops.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <string>

#include "call.h"
#include "stream.h"
#include "tensorflow/c/ops.h"

namespace paligemma {
namespace {

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

void readAttribute(TF_OpKernelConstruction* construction, const char* name, float* value, TF_Status* status) {
  if (TF_OpKernelConstruction_HasAttr(construction, name, status)) {
    TF_OpKernelConstruction_GetAttrFloat(construction, name, value, status);
  }
}

void readAttribute(TF_OpKernelConstruction* construction, const char* name, int64_t* value, TF_Status* status) {
  if (TF_OpKernelConstruction_HasAttr(construction, name, status)) {
    TF_OpKernelConstruction_GetAttrInt64(construction, name, value, status);
  }
}

void* create(TF_OpKernelConstruction* construction) {
  auto* attributes = new Attributes();
  TF_Status* status = TF_NewStatus();
  readAttribute(construction, "scale", &attributes->scale, status);
  readAttribute(construction, "softcap", &attributes->softcap, status);
  readAttribute(construction, "eps", &attributes->eps, status);
  readAttribute(construction, "activation", &attributes->activation, status);
  readAttribute(construction, "coarse", &attributes->coarse, status);
  readAttribute(construction, "among", &attributes->among, status);
  readAttribute(construction, "inner", &attributes->inner, status);
  readAttribute(construction, "headDim", &attributes->headDim, status);
  readAttribute(construction, "window", &attributes->window, status);
  readAttribute(construction, "queries", &attributes->queries, status);
  readAttribute(construction, "masked", &attributes->masked, status);
  TF_DeleteStatus(status);
  return attributes;
}

void destroy(void* kernel) { delete static_cast<Attributes*>(kernel); }

const Attributes& of(void* kernel) { return *static_cast<Attributes*>(kernel); }

// The shape with its last `replaced` axes replaced.
std::vector<int64_t> withLast(std::vector<int64_t> shape, const std::vector<int64_t>& last, int64_t replaced = 1) {
  shape.resize(shape.size() - static_cast<size_t>(replaced));
  shape.insert(shape.end(), last.begin(), last.end());
  return shape;
}

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
  });
}

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

// x [B, T, N, H], cos and sin [B, T, H] -> [B, T, N, H]
void rope(void*, TF_OpKernelContext* context) {
  Call call(context);
  Tensor x = call.input(0), cos = call.input(1), sin = call.input(2);
  if (!call.ok()) return;
  call.require(x.rank() == 4 && x.dim(3) % 2 == 0, "rope: expected x [B, T, N, H] with an even H");
  if (!call.ok()) return;
  int64_t m = x.dim(0) * x.dim(1), heads = x.dim(2), h = x.dim(3);
  call.require(cos.size() == m * h && sin.size() == m * h, "rope: expected cos and sin [B, T, H]");
  if (!call.ok()) return;
  Tensor y = call.output(x.shape());
  if (!call.ok()) return;
  Stream::get().enqueue([=](const Kernels& kernels, Pool& pool) {
    kernels.rope(pool, x.floats(), m, heads, h, cos.floats(), sin.floats(), y.floats());
  });
}

// The operands that attention and its scores share: q [B, T, N, H], k [B, C, K, H] and, where there is one, a mask
// [B, 1, T, S] with S <= C; without one all C positions are open. Everything but v and the output is filled in.
Attention attentionOf(Call& call, const Tensor& q, const Tensor& k, const Tensor& mask, const Attributes& attributes) {
  call.require(q.rank() == 4 && k.rank() == 4, "attention: expected q and k of four axes");
  if (!call.ok()) return {};
  int64_t B = q.dim(0), T = q.dim(1), N = q.dim(2), H = q.dim(3), C = k.dim(1), K = k.dim(2);
  call.require(k.dim(0) == B && k.dim(3) == H && K > 0 && N % K == 0, "attention: q does not fit k");
  bool masked = !mask || (mask.rank() == 4 && mask.dim(0) == B && mask.dim(1) == 1 && mask.dim(2) == T);
  call.require(masked && (!mask || mask.dim(3) <= C), "attention: expected a mask [B, 1, T, S] with S positions in k");
  if (!call.ok()) return {};
  int64_t S = mask ? mask.dim(3) : C;
  return {q.floats(), k.floats(), nullptr, mask ? mask.floats() : nullptr, nullptr, B, T, S, C, N, K, H, attributes.scale,
          attributes.softcap};
}

// q, k and mask as above, v as k -> [B, T, N, H]
void attend(void* kernel, TF_OpKernelContext* context) {
  Call call(context);
  Tensor q = call.input(0), k = call.input(1), v = call.input(2);
  Tensor mask = call.inputs() > 3 ? call.input(3) : Tensor();
  if (!call.ok()) return;
  Attention attention = attentionOf(call, q, k, mask, of(kernel));
  call.require(v.shape() == k.shape(), "attend: expected v of the shape of k");
  Tensor z = call.ok() ? call.output(q.shape()) : Tensor();
  if (!call.ok()) return;
  attention.v = v.floats();
  attention.z = z.floats();
  // The tensors are captured for their memory, which `attention` points into.
  Stream::get().enqueue(
      [q, k, v, mask, z, attention](const Kernels& kernels, Pool& pool) { kernels.attend(pool, attention); });
}

// q, k and mask as above -> scores [B, N, T, S]
void scores(void* kernel, TF_OpKernelContext* context) {
  Call call(context);
  Tensor q = call.input(0), k = call.input(1);
  Tensor mask = call.inputs() > 2 ? call.input(2) : Tensor();
  if (!call.ok()) return;
  Attention attention = attentionOf(call, q, k, mask, of(kernel));
  Tensor y = call.ok() ? call.output({attention.B, attention.N, attention.T, attention.S}) : Tensor();
  if (!call.ok()) return;
  attention.z = y.floats();
  Stream::get().enqueue([q, k, mask, y, attention](const Kernels& kernels, Pool& pool) { kernels.scores(pool, attention); });
}

// x [..., S] -> softmax over S
void softmax(void*, TF_OpKernelContext* context) {
  Call call(context);
  Tensor x = call.input(0);
  if (!call.ok()) return;
  call.require(x.rank() >= 1 && x.dim(-1) > 0, "softmax: expected x [..., S]");
  if (!call.ok()) return;
  Tensor y = call.output(x.shape());
  if (!call.ok()) return;
  int64_t S = x.dim(-1);
  Stream::get().enqueue(
      [=](const Kernels& kernels, Pool& pool) { kernels.softmax(pool, x.floats(), x.size() / S, S, y.floats()); });
}

// pattern [B, N, T, S], v [B, C, K, H] with S <= C -> pattern · v [B, T, N, H]
void mix(void*, TF_OpKernelContext* context) {
  Call call(context);
  Tensor pattern = call.input(0), v = call.input(1);
  if (!call.ok()) return;
  call.require(pattern.rank() == 4 && v.rank() == 4, "mix: expected a pattern and v of four axes");
  if (!call.ok()) return;
  int64_t B = pattern.dim(0), N = pattern.dim(1), T = pattern.dim(2), S = pattern.dim(3);
  int64_t C = v.dim(1), K = v.dim(2), H = v.dim(3);
  call.require(v.dim(0) == B && K > 0 && N % K == 0 && S <= C, "mix: the pattern does not fit v");
  if (!call.ok()) return;
  Tensor z = call.output({B, T, N, H});
  if (!call.ok()) return;
  Stream::get().enqueue([=](const Kernels& kernels, Pool& pool) {
    kernels.mix(pool, pattern.floats(), {nullptr, nullptr, v.floats(), nullptr, z.floats(), B, T, S, C, N, K, H, 1, 0});
  });
}

// shape [rank] -> a tensor of it whose numbers mean nothing: memory that nobody has touched costs nothing yet.
void room(void*, TF_OpKernelContext* context) {
  Call call(context);
  Tensor shape = call.input(0);
  if (!call.ok()) return;
  call.output(std::vector<int64_t>(shape.ints(), shape.ints() + shape.size()));
}

// Copies x [B, T, K, H] to the positions from `at` on of cache [B, C, K, H].
void copyRows(const Tensor& x, const Tensor& cache, int64_t at) {
  int64_t row = x.dim(2) * x.dim(3), T = x.dim(1), C = cache.dim(1);
  for (int64_t b = 0; b < x.dim(0); b++) {
    std::memcpy(cache.floats() + (b * C + at) * row, x.floats() + b * T * row, static_cast<size_t>(T * row) * sizeof(float));
  }
}

// Writes k and v [B, T, K, H] into the caches [B, C, K, H] in place, from position `at` [1] on -> [1], the new length.
void writeCache(void*, TF_OpKernelContext* context) {
  Call call(context);
  Tensor keys = call.input(0), values = call.input(1), k = call.input(2), v = call.input(3), position = call.input(4);
  if (!call.ok()) return;
  call.require(keys.rank() == 4 && k.rank() == 4 && values.shape() == keys.shape() && v.shape() == k.shape(),
               "writeCache: expected keys and values of four axes");
  call.require(position.size() == 1, "writeCache: expected one position");
  if (!call.ok()) return;
  int64_t at = position.ints()[0], T = k.dim(1), C = keys.dim(1);
  bool fits = k.dim(0) == keys.dim(0) && k.dim(2) == keys.dim(2) && k.dim(3) == keys.dim(3);
  call.require(fits && at >= 0 && at + T <= C, "writeCache: the new positions do not fit the cache");
  Tensor length = call.output({1});
  if (!call.ok()) return;
  length.floats()[0] = static_cast<float>(at + T);
  Stream::get().enqueue([=](const Kernels&, Pool&) {
    copyRows(k, keys, at);
    copyRows(v, values, at);
  });
}

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
  });
}

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

// real and types [B, S] -> 0 where a query sees a key, `masked` elsewhere [B, 1, queries, S]; the rule stands in layers/mask.ts. A window
// below 0 is none.
void mask(void* kernel, TF_OpKernelContext* context) {
  Call call(context);
  Tensor real = call.input(0), types = call.input(1);
  if (!call.ok()) return;
  const Attributes attributes = of(kernel);
  call.require(real.rank() == 2 && types.shape() == real.shape(), "mask: expected real and types [B, S]");
  if (!call.ok()) return;
  int64_t B = real.dim(0), S = real.dim(1), queries = attributes.queries, window = attributes.window;
  call.require(queries >= 0 && queries <= S, "mask: expected 0 <= queries <= S");
  Tensor y = call.output({B, 1, queries, S});
  if (!call.ok()) return;
  Stream::get().enqueue([=](const Kernels&, Pool&) {
    for (int64_t row = 0; row < B * queries; row++) {
      const float *isReal = real.floats() + row / queries * S, *type = types.floats() + row / queries * S;
      const int64_t i = S - queries + row % queries;
      for (int64_t j = 0; j < S; j++) {
        const bool causal = j <= i && (window < 0 || j > i - window), inBlock = type[i] == 0 && type[j] == 0;
        y.floats()[row * S + j] = isReal[j] > 0 && (causal || inBlock) ? 0.f : attributes.masked;
      }
    }
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

// A held weight -> its numbers as float [out, in]
void widen(void*, TF_OpKernelContext* context) {
  Call call(context);
  WeightInput w = call.weight(0);
  if (!call.ok()) return;
  Tensor y = call.output({w.matrix.rows, w.matrix.cols});
  if (!call.ok()) return;
  Stream::get().enqueue([=](const Kernels& kernels, Pool& pool) {
    kernels.widen(pool, w.matrix, y.floats());
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

struct Op {
  const char* name;
  void (*compute)(void*, TF_OpKernelContext*);
  std::vector<const char*> inputs;
  std::vector<const char*> attributes;
  std::vector<const char*> outputs;
};

std::vector<Op> ops() {
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
      {"PaligemmaRmsNorm", rmsNorm, {"x: float", "weight: float"}, {"eps: float"}, {"y: float"}},
      {"PaligemmaLayerNorm", layerNorm, {"x: float", "weight: float", "bias: float"}, {"eps: float"}, {"y: float"}},
      {"PaligemmaGelu", gelu, {"x: float"}, {}, {"y: float"}},
      {"PaligemmaRmsScale", scaleOf<false>, {"x: float"}, {"eps: float"}, {"scale: float"}},
      {"PaligemmaRmsScaled", scaled, {"x: float", "scale: float", "weight: float"}, {}, {"y: float"}},
      {"PaligemmaLayerScale", scaleOf<true>, {"x: float"}, {"eps: float"}, {"scale: float"}},
      {"PaligemmaLayerScaled", scaled, {"x: float", "scale: float", "weight: float", "bias: float"}, {}, {"y: float"}},
      {"PaligemmaScores", scores, {"q: float", "k: float", "mask: float"}, {"scale: float", "softcap: float"}, {"y: float"}},
      {"PaligemmaScoresOpen", scores, {"q: float", "k: float"}, {"scale: float", "softcap: float"}, {"y: float"}},
      {"PaligemmaSoftmax", softmax, {"x: float"}, {}, {"y: float"}},
      {"PaligemmaMix", mix, {"pattern: float", "v: float"}, {}, {"z: float"}},
      {"PaligemmaRope", rope, {"x: float", "cos: float", "sin: float"}, {}, {"y: float"}},
      {"PaligemmaAttend", attend, {"q: float", "k: float", "v: float", "mask: float"}, {"scale: float", "softcap: float"},
       {"z: float"}},
      {"PaligemmaAttendOpen", attend, {"q: float", "k: float", "v: float"}, {"scale: float", "softcap: float"}, {"z: float"}},
      {"PaligemmaRoom", room, {"shape: int32"}, {}, {"room: float"}},
      {"PaligemmaWriteCache", writeCache,
       {"keys: float", "values: float", "k: float", "v: float", "position: int32"}, {}, {"length: float"}},
      {"PaligemmaEmbed", embed, {"ids: int32", "w: W"}, {W, "scale: float"}, {"y: float"}},
      {"PaligemmaAdd", add, {"a: float", "b: float"}, {}, {"y: float"}},
      {"PaligemmaLastRow", lastRow, {"x: float"}, {}, {"y: float"}},
      {"PaligemmaPick", pick, {"first: float", "second: float", "index: int32"}, {}, {"y: float"}},
      {"PaligemmaMask", mask, {"real: float", "types: float"}, {"window: int", "queries: int", "masked: float"},
       {"mask: float"}},
      {"PaligemmaSoftcap", softcap, {"x: float"}, {"softcap: float"}, {"y: float"}},
      {"PaligemmaWiden", widen, {"w: W"}, {W}, {"y: float"}},
      {"PaligemmaHold", hold, {"id: int32"}, {}, {"w: int32"}},
  };
}

void unknownShape(TF_ShapeInferenceContext* context, TF_Status* status) {
  TF_ShapeInferenceContextSetUnknownShape(context, status);
}

void registerOp(const Op& op, TF_Status* status) {
  TF_OpDefinitionBuilder* definition = TF_NewOpDefinitionBuilder(op.name);
  for (const char* attribute : op.attributes) TF_OpDefinitionBuilderAddAttr(definition, attribute);
  for (const char* input : op.inputs) TF_OpDefinitionBuilderAddInput(definition, input);
  for (const char* output : op.outputs) TF_OpDefinitionBuilderAddOutput(definition, output);
  TF_OpDefinitionBuilderSetIsStateful(definition, true);
  TF_OpDefinitionBuilderSetShapeInferenceFunction(definition, unknownShape);
  TF_RegisterOpDefinition(definition, status);
  if (TF_GetCode(status) != TF_OK) return;
  TF_KernelBuilder* kernel = TF_NewKernelBuilder(op.name, "CPU", create, op.compute, destroy);
  TF_RegisterKernelBuilder(op.name, kernel, status);
}

}  // namespace

const char* registerOps() {
  static std::once_flag once;
  static std::string* problem = new std::string();
  std::call_once(once, [] {
    TF_Status* status = TF_NewStatus();
    for (const Op& op : ops()) {
      registerOp(op, status);
      if (TF_GetCode(status) == TF_OK) continue;
      *problem = std::string(op.name) + ": " + TF_Message(status);
      break;
    }
    TF_DeleteStatus(status);
  });
  return problem->empty() ? nullptr : problem->c_str();
}

}  // namespace paligemma
