// The tables of kernels, one for each instruction set that the build compiled.
#pragma once

#include "../kernels.h"

namespace paligemma {

extern const Kernels kAvx512Kernels;
extern const Kernels kAvx2Kernels;
extern const Kernels kGenericKernels;

// The table of the instruction set that a file is compiled for, PALIGEMMA_ISA.
#define PALIGEMMA_SET_KERNEL(kernel) table.kernel = PALIGEMMA_ISA::kernel;
#define PALIGEMMA_TABLE(nameOfSet)           \
  [] {                                       \
    Kernels table = {};                      \
    table.name = nameOfSet;                  \
    PALIGEMMA_KERNELS(PALIGEMMA_SET_KERNEL)  \
    return table;                            \
  }()

// The AVX-512 table with its matrix products replaced: coarse ones by pairs of bfloat16, or all by the tile unit.
const Kernels* avx512Bf16Kernels();
const Kernels* amxKernels();

}  // namespace paligemma
