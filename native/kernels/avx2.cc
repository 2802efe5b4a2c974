// Flags: -mavx2 -mfma -mf16c
#if defined(__AVX2__)
#define PALIGEMMA_ISA avx2
#define PALIGEMMA_LANES 8
#include "attend.h"
#include "gemm.h"
#include "tables.h"

namespace paligemma {

const Kernels kAvx2Kernels = PALIGEMMA_TABLE("avx2");

}  // namespace paligemma
#endif
