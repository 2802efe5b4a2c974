// Flags: -mavx512f -mavx512bw -mavx512vl -mavx512dq -mfma -mf16c -mprefer-vector-width=512 -mavx512bf16
#if defined(__AVX512BF16__)
#define PALIGEMMA_ISA avx512bf16
#define PALIGEMMA_LANES 16
#include "gemm.h"
#include "tables.h"

namespace paligemma {

const Kernels* avx512Bf16Kernels() {
  static Kernels table;
  table = kAvx512Kernels;
  table.name = "avx512bf16";
  table.linear = avx512bf16::linear;
  table.gatedMlp = avx512bf16::gatedMlp;
  table.mlp = avx512bf16::mlp;
  return &table;
}

}  // namespace paligemma
#endif
