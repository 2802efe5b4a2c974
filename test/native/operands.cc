// Calls every kernel of every instruction set that this processor has, its operands each in memory of exactly their size, for
// AddressSanitizer to see what is read and written beside it; prints the sets. The numbers are compared elsewhere
// (kernels.test.ts). With the argument "beyond" the kernel is told of a row of x that is not there: that must be seen.
#include <cstdio>
#include <cstring>
#include <memory>

#include "kernels.h"

using namespace paligemma;

namespace {

// Memory that ends where its last number does; filled with small numbers that differ.
template <typename T>
class Exact {
 public:
  explicit Exact(int64_t n) : memory_(new T[n]), size_(n) {
    for (int64_t i = 0; i < n; i++) memory_[i] = static_cast<T>((i * 37 % 23) * 0.125 - 1);
  }
  operator T*() const { return memory_.get(); }
  int64_t size() const { return size_; }

 private:
  std::unique_ptr<T[]> memory_;
  int64_t size_;
};

int64_t ceilDiv(int64_t a, int64_t b) { return (a + b - 1) / b; }

// A matrix of any type with its tables.
struct Weights {
  Weights(Dtype dtype, int64_t rows, int64_t cols)
      : bytes(dtype == Dtype::kCodes4 ? ceilDiv(rows * cols, 2) : rows * cols * bytesOf(dtype)),
        scales(dtype == Dtype::kCodes4 ? ceilDiv(rows * cols, 64) : rows),
        codebook(16) {
    for (int64_t i = 0; i < bytes.size(); i++) bytes[i] = static_cast<uint8_t>(i * 29 % 61);
    matrix = {static_cast<const uint8_t*>(bytes), dtype, rows, cols};
    if (dtype == Dtype::kInt8 || dtype == Dtype::kCodes4) matrix.scales = scales;
    if (dtype == Dtype::kCodes4) matrix.codebook = codebook, matrix.blockShift = 6, matrix.rounding = Dtype::kBFloat16;
  }
  Exact<uint8_t> bytes;
  Exact<float> scales, codebook;
  Matrix matrix;
};

struct Size {
  int64_t m, rows, cols;
};

void products(const Kernels& k, Pool& pool, Dtype dtype, const Size& p, bool coarse) {
  Exact<float> x(p.m * p.cols), y(p.m * p.rows), bias(p.rows);
  Weights w(dtype, p.rows, p.cols);
  const Product alone = {w.matrix, bias, y};
  k.linear(pool, x, p.m, &alone, 1, Activation::kGeluTanh, coarse);
  const int64_t fewer = ceilDiv(p.rows, 2);
  Weights other(dtype, fewer, p.cols);
  Exact<float> short1(p.m * fewer), short2(p.m * fewer), lastBias(fewer);
  const Product several[] = {{w.matrix, nullptr, y}, {other.matrix, nullptr, short1}, {other.matrix, lastBias, short2}};
  k.linear(pool, x, p.m, several, 3, Activation::kNone, coarse);
  Weights up(dtype, p.rows, p.cols), down(dtype, p.cols, p.rows);
  Exact<float> z(p.m * p.cols);
  k.gatedMlp(pool, x, p.m, p.m, w.matrix, up.matrix, down.matrix, coarse, z);
  k.gatedMlp(pool, x, 1, p.m, w.matrix, up.matrix, down.matrix, coarse, z);
  Exact<float> outBias(p.cols);
  k.mlp(pool, x, p.m, w.matrix, bias, {down.matrix, outBias, z}, coarse);
  Exact<float> wide(p.rows * p.cols), some(2 * p.cols);
  k.widen(pool, w.matrix, wide);
  Exact<int32_t> ids(2);
  ids[0] = static_cast<int32_t>(p.rows - 1), ids[1] = 0;
  k.embed(pool, ids, 2, w.matrix, 2.f, some);
}

void packings(const Kernels& k, Dtype dtype, int64_t rows, int64_t cols) {
  Weights w(dtype, rows, cols);
  const int64_t n = rows * cols;
  Exact<float> midpoints(15), scales(ceilDiv(n, 64)), rowScales(rows);
  Exact<uint8_t> codes(16), packed(ceilDiv(n, 2));
  Exact<int8_t> bytes(n);
  k.quantise4(w.matrix.data, dtype, n, midpoints, codes, packed, scales);
  k.quantise8(w.matrix.data, dtype, rows, cols, bytes, rowScales);
}

struct Sizes {
  int64_t B, T, S, capacity, N, K, H;
};

void attention(const Kernels& k, Pool& pool, const Sizes& s, bool masked, float softcap) {
  Exact<float> q(s.B * s.T * s.N * s.H), keys(s.B * s.capacity * s.K * s.H), values(s.B * s.capacity * s.K * s.H);
  Exact<float> mask(s.B * s.T * s.S), z(s.B * s.T * s.N * s.H), scores(s.B * s.N * s.T * s.S), pattern(s.B * s.N * s.T * s.S);
  Attention a = {q, keys, values, masked ? static_cast<float*>(mask) : nullptr, z, s.B, s.T, s.S, s.capacity, s.N, s.K, s.H,
                 0.5f, softcap};
  k.attend(pool, a);
  a.z = scores;
  k.scores(pool, a);
  k.softmax(pool, scores, s.B * s.N * s.T, s.S, pattern);
  a.z = z;
  k.mix(pool, pattern, a);
}

void rows(const Kernels& k, Pool& pool, int64_t m, int64_t d) {
  Exact<float> x(m * d), y(m * d), scale(m), weight(d), bias(d);
  k.rmsNorm(pool, x, m, d, weight, 1e-6f, y);
  k.layerNorm(pool, x, m, d, weight, bias, 1e-6f, y);
  k.rmsScale(pool, x, m, d, 1e-6f, scale);
  k.rmsScaled(pool, x, m, d, scale, weight, y);
  k.layerScale(pool, x, m, d, 1e-6f, scale);
  k.layerScaled(pool, x, m, d, scale, weight, bias, y);
  k.add(pool, x, x, m * d, y);
  k.softcap(pool, x, m * d, 3.f, y);
  k.gelu(pool, x, m * d, y);
  Exact<float> heads(m * 3 * 2 * d), turned(m * 3 * 2 * d), cos(m * 2 * d), sin(m * 2 * d);
  k.rope(pool, heads, m, 3, 2 * d, cos, sin, turned);
}

// Sizes around every step of the kernels: lanes, rows of a tile, panels, words of a block, rows at a time.
void all(const Kernels& k, Pool& pool) {
  const Size some[] = {{1, 1, 1},    {1, 33, 70},   {3, 70, 33},  {8, 130, 64}, {9, 17, 5},   {13, 31, 130},
                          {15, 40, 192}, {28, 65, 129}, {29, 9, 448}, {30, 66, 385}, {16, 64, 512}, {507, 34, 65}};
  for (const Size& p : some) {
    for (Dtype dtype : {Dtype::kFloat32, Dtype::kBFloat16, Dtype::kFloat16, Dtype::kInt8, Dtype::kCodes4}) {
      for (bool coarse : {false, true}) products(k, pool, dtype, p, coarse);
    }
    for (Dtype dtype : {Dtype::kFloat32, Dtype::kBFloat16, Dtype::kFloat16}) packings(k, dtype, p.rows, p.cols);
    rows(k, pool, p.m, p.cols);
  }
  const Sizes sizes[] = {{1, 1, 1, 1, 1, 1, 1},     {2, 5, 9, 12, 4, 2, 6},      {1, 1, 300, 300, 8, 1, 40}, {1, 1, 257, 257, 8, 1, 64},
                         {1, 2, 270, 270, 8, 1, 32}, {2, 19, 150, 150, 4, 2, 104}, {1, 17, 17, 17, 3, 3, 72},  {1, 40, 77, 90, 6, 2, 33}};
  for (const Sizes& s : sizes) {
    for (bool masked : {false, true}) attention(k, pool, s, masked, masked ? 5.f : 0.f);
  }
}

}  // namespace

int main(int argc, char** argv) {
  int count = 0;
  const Kernels* const* tables = availableKernels(&count);
  if (argc > 1 && std::strcmp(argv[1], "beyond") == 0) {
    Pool pool(1);
    Exact<float> x(9 * 64), y(10 * 33);
    Weights w(Dtype::kBFloat16, 33, 64);
    const Product product = {w.matrix, nullptr, y};
    tables[0]->linear(pool, x, 10, &product, 1, Activation::kNone, true);
    return 0;
  }
  for (int threads : {1, 3}) {
    Pool pool(threads);
    for (int i = 0; i < count; i++) all(*tables[i], pool);
  }
  for (int i = 0; i < count; i++) printf("%s\n", tables[i]->name);
}
