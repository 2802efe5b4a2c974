// Flags: -mavx2 -mfma -mf16c
#if defined(__AVX2__)
#define PALIGEMMA_ISA avx2
#define PALIGEMMA_LANES 8
#include "attend.h"
#include "gemm.h"
#include "tables.h"

namespace paligemma {

const Kernels kAvx2Kernels = {"avx2",
    avx2::linear, avx2::gatedMlp, avx2::mlp, avx2::rmsNorm, avx2::layerNorm, avx2::rope, avx2::attend, avx2::embed, avx2::add,
    avx2::softcap, avx2::widen, avx2::quantise4, avx2::quantise8, avx2::gelu, avx2::rmsScale, avx2::rmsScaled,
    avx2::layerScale, avx2::layerScaled, avx2::scores, avx2::softmax, avx2::mix};

}  // namespace paligemma
#endif
