#include "pool.h"

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
  {
    std::lock_guard<std::mutex> lock(mutex_);
    stop_ = true;
    round_++;
  }
  wake_.notify_all();
  for (std::thread& helper : helpers_) helper.join();
}

void Pool::start(int64_t tasks, Call call, const void* body) {
  tasks_ = tasks;
  call_ = call;
  body_ = body;
  next_ = 0;
  busy_ = static_cast<int>(helpers_.size());
  {
    std::lock_guard<std::mutex> lock(mutex_);
    round_++;
  }
  wake_.notify_all();
  take(0);
  for (int spin = 0; busy_.load(std::memory_order_acquire) > 0; spin++) {
    if (spin < kSpins) {
      pause();
    } else {
      std::this_thread::yield();
    }
  }
}

void Pool::take(int thread) {
  for (int64_t task; (task = next_.fetch_add(1)) < tasks_;) call_(body_, task, thread);
}

void Pool::work(int thread) {
  for (uint64_t seen = 0;;) {
    for (int spin = 0; spin < kSpins && round_.load(std::memory_order_acquire) == seen; spin++) pause();
    if (round_.load(std::memory_order_acquire) == seen) {
      std::unique_lock<std::mutex> lock(mutex_);
      wake_.wait(lock, [&] { return round_.load() != seen; });
    }
    seen = round_.load(std::memory_order_acquire);
    if (stop_) return;
    take(thread);
    busy_.fetch_sub(1, std::memory_order_release);
  }
}

}  // namespace paligemma
