// Flags: none beyond the common ones; the baseline of the processor (SSE2, NEON).
#define PALIGEMMA_ISA generic
#define PALIGEMMA_LANES 4
#include "attend.h"
#include "gemm.h"
#include "tables.h"

namespace paligemma {

const Kernels kGenericKernels = {"generic",
    generic::linear, generic::gatedMlp, generic::mlp, generic::rmsNorm, generic::layerNorm, generic::rope, generic::attend,
    generic::embed, generic::add, generic::softcap, generic::widen, generic::quantise4, generic::quantise8, generic::gelu, generic::rmsScale,
    generic::rmsScaled, generic::layerScale, generic::layerScaled, generic::scores, generic::softmax, generic::mix};

}  // namespace paligemma
