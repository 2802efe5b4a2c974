#include "pool.h"

#include "mapped-file.h"

namespace paligemma {
namespace {

// Loops follow each other within microseconds while a model runs; sleeping between them would cost more than they do.
constexpr int kSpins = 4000;

inline void pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

}  // namespace

Pool::Pool(int threads) {
  for (int thread = 1; thread < threads; thread++) helpers_.emplace_back([this, thread] { work(thread); });
}

Pool::~Pool() {
  stop_ = true;
  next(0);
  for (std::thread& helper : helpers_) helper.join();
}

void Pool::next(int64_t tasks) {
  tasks_ = tasks;
  done_.store(0, std::memory_order_relaxed);
  {
    std::lock_guard<std::mutex> lock(mutex_);
    claim_.store((round() + 1) << 32 | static_cast<uint64_t>(tasks), std::memory_order_release);
  }
  wake_.notify_all();
}

void Pool::start(int64_t tasks, Call call, const void* body) {
  call_ = call;
  body_ = body;
  next(tasks);
  take(0, round());
  for (int spin = 0; done_.load(std::memory_order_acquire) < tasks; spin++) {
    if (spin < kSpins) {
      pause();
    } else {
      std::this_thread::yield();
    }
  }
}

void Pool::take(int thread, uint64_t round) {
  for (;;) {
    uint64_t claim = claim_.load(std::memory_order_acquire);
    const auto left = static_cast<int64_t>(claim & 0xffffffff);
    if (claim >> 32 != round || left == 0) return;
    if (!claim_.compare_exchange_weak(claim, claim - 1, std::memory_order_acq_rel)) continue;
    call_(body_, tasks_ - left, thread);
    done_.fetch_add(1, std::memory_order_release);
  }
}

void Pool::work(int thread) {
  receiveFaults();
  for (uint64_t seen = 0;;) {
    for (int spin = 0; spin < kSpins && round() == seen; spin++) pause();
    if (round() == seen) {
      std::unique_lock<std::mutex> lock(mutex_);
      wake_.wait(lock, [&] { return round() != seen; });
    }
    seen = round();
    if (stop_) return;
    take(thread, seen);
  }
}

}  // namespace paligemma
