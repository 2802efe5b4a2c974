// Chooses the kernels that this processor can run. The build defines PALIGEMMA_HAVE_AVX2, PALIGEMMA_HAVE_AVX512 and
// PALIGEMMA_HAVE_AMX for the files under kernels/ that its compiler could compile.
#include "kernels.h"
#include "kernels/tables.h"

#if defined(__x86_64__) && defined(PALIGEMMA_HAVE_AMX) && defined(__linux__)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
#define PALIGEMMA_ASK_FOR_AMX
#endif

namespace paligemma {
namespace {

#if defined(PALIGEMMA_ASK_FOR_AMX)
// Linux saves the 8 KiB of tile registers only for a process that asked for them.
bool hasAmx() {
  unsigned a = 0, b = 0, c = 0, d = 0;
  if (!__get_cpuid_count(7, 0, &a, &b, &c, &d)) return false;
  constexpr unsigned kAmxBf16 = 1u << 22, kAmxTile = 1u << 24;
  if (!(d & kAmxBf16) || !(d & kAmxTile)) return false;
  constexpr unsigned kAvx512Bf16 = 1u << 5;
  if (!__get_cpuid_count(7, 1, &a, &b, &c, &d) || !(a & kAvx512Bf16)) return false;
  constexpr int kRequestPermission = 0x1023, kTileData = 18;  // ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA
  return syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
}
#endif

struct Tables {
  const Kernels* found[4];
  int count = 0;

  Tables() {
#if defined(__x86_64__)
    __builtin_cpu_init();
#if defined(PALIGEMMA_HAVE_AVX512)
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
        __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("fma")) {
#if defined(PALIGEMMA_ASK_FOR_AMX)
      if (hasAmx()) found[count++] = amxKernels();
#endif
      found[count++] = &kAvx512Kernels;
    }
#endif
#if defined(PALIGEMMA_HAVE_AVX2)
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) found[count++] = &kAvx2Kernels;
#endif
#endif
    found[count++] = &kGenericKernels;
  }
};

}  // namespace

const Kernels* const* availableKernels(int* count) {
  static const Tables tables;
  *count = tables.count;
  return tables.found;
}

}  // namespace paligemma
