// Working memory that outlives a call, so that a model in its loop does not allocate.
#pragma once

#include <cstdio>
#include <cstdlib>

#if defined(__linux__)
#include <sys/mman.h>
#endif

#include "vector.h"

namespace paligemma {
namespace PALIGEMMA_ISA {
namespace {

// A buffer that grows on demand and keeps no contents. Calls of kernels are serialised by contract, so one static
// buffer for each purpose is enough; the kernel that takes it divides it among its threads.
class Scratch {
 public:
  // At least `bytes` bytes, on a page's boundary.
  uint8_t* need(int64_t bytes) {
    if (kKeeps && bytes <= bytes_) return data_;
    free(data_);
    bytes_ = roundUp(bytes, kPage);
    data_ = static_cast<uint8_t*>(aligned_alloc(kPage, bytes_));
    if (!data_) {
      fprintf(stderr, "paligemma: no memory for %lld bytes\n", static_cast<long long>(bytes));
      abort();
    }
#if defined(__linux__)
    madvise(data_, bytes_, MADV_HUGEPAGE);  // a packed operand is walked in strides that would exhaust the TLB
#endif
    return data_;
  }

  // Gives back what only an unusually long sequence needed.
  void trim() {
    if (bytes_ <= kKept) return;
    free(data_);
    data_ = nullptr;
    bytes_ = 0;
  }

 private:
#if defined(PALIGEMMA_EXACT_SCRATCH)  // for a checker of memory, which sees a step beyond the end only where nothing follows
  static constexpr int64_t kPage = 64;
  static constexpr bool kKeeps = false;
#else
  static constexpr int64_t kPage = int64_t{1} << 21;
  static constexpr bool kKeeps = true;
#endif
  static constexpr int64_t kKept = int64_t{256} << 20;
  uint8_t* data_ = nullptr;
  int64_t bytes_ = 0;
};

}  // namespace
}  // namespace PALIGEMMA_ISA
}  // namespace paligemma
