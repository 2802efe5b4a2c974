// Flags: none beyond the common ones; the baseline of the processor (SSE2, NEON).
#define PALIGEMMA_ISA generic
#define PALIGEMMA_LANES 4
#include "attend.h"
#include "gemm.h"
#include "tables.h"

namespace paligemma {

const Kernels kGenericKernels = PALIGEMMA_TABLE("generic");

}  // namespace paligemma
