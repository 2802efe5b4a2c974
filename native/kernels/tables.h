// The tables of kernels, one for each instruction set that the build compiled.
#pragma once

#include "../kernels.h"

namespace paligemma {

extern const Kernels kAvx512Kernels;
extern const Kernels kAvx2Kernels;
extern const Kernels kGenericKernels;

// The AVX-512 table with the matrix products replaced by those of the tile unit.
const Kernels* amxKernels();

}  // namespace paligemma
