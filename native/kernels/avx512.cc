// Flags: -mavx512f -mavx512bw -mavx512vl -mavx512dq -mfma -mf16c -mprefer-vector-width=512
#if defined(__AVX512F__)
#define PALIGEMMA_ISA avx512
#define PALIGEMMA_LANES 16
#include "attend.h"
#include "gemm.h"
#include "tables.h"

namespace paligemma {

const Kernels kAvx512Kernels = PALIGEMMA_TABLE("avx512");

}  // namespace paligemma
#endif
