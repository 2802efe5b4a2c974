// The mathematics that the addon computes itself, one table of functions for each instruction set.
#pragma once

#include <cstdint>

#include "pool.h"

namespace paligemma {

// Types that weights are held in, by TensorFlow's numbers; codes of 4 bit have none there.
enum class Dtype : int { kFloat32 = 1, kInt8 = 6, kBFloat16 = 14, kFloat16 = 19, kCodes4 = 100 };

// Bytes of a number that is stored as it is.
inline int64_t bytesOf(Dtype dtype) { return dtype == Dtype::kFloat32 ? 4 : dtype == Dtype::kInt8 ? 1 : 2; }

// A stored matrix W [rows = out, cols = in], row-major. `data` lies in a mapped file: aligned to its element at best.
struct Matrix {
  const void* data;
  Dtype dtype;
  int64_t rows;
  int64_t cols;
  // kInt8: W = data · scales[row] / 127. kCodes4: the codes of the whole matrix one after another, two in a byte, the first in the high
  // half; W = rounded(codebook[code] · scales[index >> blockShift]).
  const float* scales = nullptr;
  const float* codebook = nullptr;  // [16]
  int blockShift = 0;
  Dtype rounding = Dtype::kFloat32;

  bool packed() const { return scales != nullptr; }
  int64_t rowBytes() const { return dtype == Dtype::kCodes4 ? (cols + 1) / 2 : cols * bytesOf(dtype); }
};

enum class Activation : int { kNone = 0, kGeluTanh = 1 };

// One product: y = activation(x·Wᵀ + bias), x [m, cols], bias [rows] or null, y [m, rows].
struct Product {
  Matrix w;
  const float* bias;
  float* y;
};

// softmax(softcap(q·kᵀ · scale) + mask) · v; query head n reads key head n / (N / K).
struct Attention {
  const float* q;     // [B, T, N, H]
  const float* k;     // [B, capacity, K, H], of which the first S positions count
  const float* v;     // as k
  const float* mask;  // [B, T, S], added to the scores, or null for all open
  float* z;           // [B, T, N, H]
  int64_t B, T, S, capacity, N, K, H;
  float scale;
  float softcap;  // 0 for none
};

constexpr int64_t kMaxProducts = 3;

// Activations are float32 and contiguous. They are multiplied as they are but for two cases: the tile unit takes 17 bits
// or more of them for 16-bit weights (kernels/amx.cc), and a coarse product 8 where bfloat16 are multiplied faster.
// Inputs and outputs do not overlap.
struct Kernels {
  const char* name;
  // Some products of the same x, at most kMaxProducts, by matrices of one type; each has the bits that it has alone. `coarse`: x
  // may be rounded to bfloat16 where W has 16 bit.
  void (*linear)(Pool&, const float* x, int64_t m, const Product* products, int64_t count, Activation, bool coarse);
  // y = down( gelu_tanh(gate(x)) · up(x) ): x [m, D], gate and up [F, D] of one type, down [D, F], y [m, D]. `coarse` as
  // in linear. The arithmetic goes by `among` >= m, of how many rows these are some: of nine or more, each has the bits
  // that it has there.
  void (*gatedMlp)(Pool&, const float* x, int64_t m, int64_t among, const Matrix& gate, const Matrix& up,
                   const Matrix& down, bool coarse, float* y);
  // y = fc2( gelu_tanh(fc1(x) + bias1) ) + bias2: x [m, D], fc1 [F, D], fc2 [D, F], y [m, D]. `coarse` as in linear.
  void (*mlp)(Pool&, const float* x, int64_t m, const Matrix& fc1, const float* bias1, const Product& fc2, bool coarse);
  // y = x / sqrt(mean(x²) + eps) · (1 + weight): x and y [m, d], weight [d].
  void (*rmsNorm)(Pool&, const float* x, int64_t m, int64_t d, const float* weight, float eps, float* y);
  // y = (x - mean) / sqrt(var + eps) · weight + bias: x and y [m, d], weight and bias [d].
  void (*layerNorm)(Pool&, const float* x, int64_t m, int64_t d, const float* weight, const float* bias, float eps,
                    float* y);
  // Turns the pair (i, i + h/2) of each head: x and y [m, heads, h], cos and sin [m, h].
  void (*rope)(Pool&, const float* x, int64_t m, int64_t heads, int64_t h, const float* cos, const float* sin, float* y);
  void (*attend)(Pool&, const Attention&);
  // y[i] = table[ids[i]] · scale; ids were checked.
  void (*embed)(Pool&, const int32_t* ids, int64_t count, const Matrix& table, float scale, float* y);
  // y = a + b.
  void (*add)(Pool&, const float* a, const float* b, int64_t n, float* y);
  // y = cap · tanh(x / cap).
  void (*softcap)(Pool&, const float* x, int64_t n, float cap, float* y);
  // y = W as float32 [rows, cols].
  void (*widen)(Pool&, const Matrix& w, float* y);
  // Codes of n stored numbers, in blocks of 64, on the calling thread: scales[block] = largest |x|, and of x / scale the number
  // of the 15 rising `midpoints` below it, through `codes` [16], two in a byte.
  void (*quantise4)(const void* x, Dtype, int64_t n, const float* midpoints, const uint8_t* codes, uint8_t* y, float* scales);
  // Rows [rows, cols] of stored numbers to int8, on the calling thread: scales[row] = largest |x|, y = x / scale · 127 to the nearest,
  // ties to even.
  void (*quantise8)(const void* x, Dtype, int64_t rows, int64_t cols, int8_t* y, float* scales);

  // The steps of the kernels above, for whoever looks between them: step by step gives the same bits as at once.
  // y = gelu_tanh(x).
  void (*gelu)(Pool&, const float* x, int64_t n, float* y);
  // scale = sqrt(mean(x²) + eps) [m], and y = x / scale · (1 + weight).
  void (*rmsScale)(Pool&, const float* x, int64_t m, int64_t d, float eps, float* scale);
  void (*rmsScaled)(Pool&, const float* x, int64_t m, int64_t d, const float* scale, const float* weight, float* y);
  // scale = sqrt(var + eps) [m], and y = (x - mean) / scale · weight + bias.
  void (*layerScale)(Pool&, const float* x, int64_t m, int64_t d, float eps, float* scale);
  void (*layerScaled)(Pool&, const float* x, int64_t m, int64_t d, const float* scale, const float* weight,
                      const float* bias, float* y);
  // softcap(q·kᵀ · scale) + mask to `z`, which is [B, N, T, S] here; v is not read.
  void (*scores)(Pool&, const Attention&);
  // softmax over each of m rows of S.
  void (*softmax)(Pool&, const float* x, int64_t m, int64_t S, float* y);
  // pattern [B, N, T, S] · v; q, k and mask are not read.
  void (*mix)(Pool&, const float* pattern, const Attention&);
};

// Every function of the struct, by name: tables are made from this list, so that none can be left out or change places.
#define PALIGEMMA_KERNELS(X) \
  X(linear) X(gatedMlp) X(mlp) X(rmsNorm) X(layerNorm) X(rope) X(attend) X(embed) X(add) X(softcap) X(widen) \
  X(quantise4) X(quantise8) X(gelu) X(rmsScale) X(rmsScaled) X(layerScale) X(layerScaled) X(scores) \
  X(softmax) X(mix)

// The tables that this processor can run, best first; the last one runs everywhere.
const Kernels* const* availableKernels(int* count);

}  // namespace paligemma
