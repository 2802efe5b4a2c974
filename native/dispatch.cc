// Chooses the kernels that this processor can run. The build defines PALIGEMMA_HAVE_... for the
// files under kernels/ that its compiler could compile.
#include "kernels.h"
#include "kernels/tables.h"

#if defined(__x86_64__)
#include <cpuid.h>
#endif
#if defined(__x86_64__) && defined(PALIGEMMA_HAVE_AMX) && defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#define PALIGEMMA_ASK_FOR_AMX
#endif

namespace paligemma {
namespace {

#if defined(__x86_64__)
// A bit of the leaf 7 of `cpuid`. GCC 8's __builtin_cpu_supports does not know these names yet.
enum class Leaf7 { kEdx = 0, kEax1 = 1 };
bool hasBit(Leaf7 where, unsigned bit) {
  unsigned a = 0, b = 0, c = 0, d = 0;
  if (!__get_cpuid_count(7, static_cast<unsigned>(where), &a, &b, &c, &d)) return false;
  return (where == Leaf7::kEdx ? d : a) >> bit & 1;
}
#endif

#if defined(PALIGEMMA_ASK_FOR_AMX)
// Linux saves the 8 KiB of tile registers only for a process that asked for them.
bool hasAmx() {
  constexpr unsigned kAmxBf16 = 22, kAmxTile = 24;
  if (!hasBit(Leaf7::kEdx, kAmxBf16) || !hasBit(Leaf7::kEdx, kAmxTile)) return false;
  constexpr int kRequestPermission = 0x1023, kTileData = 18;  // ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA
  return syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
}
#endif

struct Tables {
  const Kernels* found[5];
  int count = 0;

  Tables() {
#if defined(__x86_64__)
    __builtin_cpu_init();
#if defined(PALIGEMMA_HAVE_AVX512)
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
        __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("fma")) {
      constexpr unsigned kAvx512Bf16 = 5;
      const bool pairs = hasBit(Leaf7::kEax1, kAvx512Bf16);
      (void)pairs;  // a compiler may know neither of those that need it
#if defined(PALIGEMMA_ASK_FOR_AMX)
      if (pairs && hasAmx()) found[count++] = amxKernels();
#endif
#if defined(PALIGEMMA_HAVE_AVX512BF16)
      if (pairs) found[count++] = avx512Bf16Kernels();
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
