// Attention, at once and in its steps, with its positions, its cache and its mask.
#include <cstring>

#include "op.h"
#include "stream.h"

namespace paligemma {
namespace {

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

// real and types [B, S] -> 0 where a query sees a key, `masked` elsewhere [B, 1, queries, S]; the rule stands in layers/prefix-lm-mask.ts. A window
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

}  // namespace

std::vector<Op> attentionOps() {
  return {
      {"PaligemmaRope", rope, {"x: float", "cos: float", "sin: float"}, {}, {"y: float"}},
      {"PaligemmaMask", mask, {"real: float", "types: float"}, {"window: int", "queries: int", "masked: float"},
       {"mask: float"}},
      {"PaligemmaAttend", attend, {"q: float", "k: float", "v: float", "mask: float"}, {"scale: float", "softcap: float"},
       {"z: float"}},
      {"PaligemmaAttendOpen", attend, {"q: float", "k: float", "v: float"}, {"scale: float", "softcap: float"}, {"z: float"}},
      {"PaligemmaScores", scores, {"q: float", "k: float", "mask: float"}, {"scale: float", "softcap: float"}, {"y: float"}},
      {"PaligemmaScoresOpen", scores, {"q: float", "k: float"}, {"scale: float", "softcap: float"}, {"y: float"}},
      {"PaligemmaSoftmax", softmax, {"x: float"}, {}, {"y: float"}},
      {"PaligemmaMix", mix, {"pattern: float", "v: float"}, {}, {"z: float"}},
      {"PaligemmaRoom", room, {"shape: int32"}, {}, {"room: float"}},
      {"PaligemmaWriteCache", writeCache,
       {"keys: float", "values: float", "k: float", "v: float", "position: int32"}, {}, {"length: float"}},
  };
}

}  // namespace paligemma
