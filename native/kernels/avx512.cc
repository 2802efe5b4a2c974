// Flags: -mavx512f -mavx512bw -mavx512vl -mavx512dq -mfma -mf16c -mprefer-vector-width=512
#if defined(__AVX512F__)
#define PALIGEMMA_ISA avx512
#define PALIGEMMA_LANES 16
#include "attend.h"
#include "gemm.h"
#include "tables.h"

namespace paligemma {

const Kernels kAvx512Kernels = {"avx512",
    avx512::linear, avx512::gatedMlp, avx512::mlp, avx512::rmsNorm, avx512::layerNorm, avx512::rope, avx512::attend, avx512::embed,
    avx512::add, avx512::softcap, avx512::widen, avx512::quantise4, avx512::quantise8, avx512::gelu, avx512::rmsScale,
    avx512::rmsScaled, avx512::layerScale, avx512::layerScaled, avx512::scores, avx512::softmax, avx512::mix};

}  // namespace paligemma
#endif
