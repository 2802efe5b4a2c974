// A fixed set of threads that share the tasks of one loop at a time.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <thread>
#include <vector>

namespace paligemma {

// `run` calls body(task, thread) once for each task in [0, tasks), on the calling thread (number 0) and on the helpers,
// and returns when all are done. Tasks are handed out one by one in rising order, so uneven tasks balance, and a helper that
// the system has put aside for another thread is not waited for unless it has one. One `run` at a time; the body must not
// throw and must not call `run`.
class Pool {
 public:
  explicit Pool(int threads);
  ~Pool();
  Pool(const Pool&) = delete;
  Pool& operator=(const Pool&) = delete;

  int threads() const { return static_cast<int>(helpers_.size()) + 1; }

  template <typename Body>
  void run(int64_t tasks, const Body& body) {
    if (tasks <= 0) return;
    if (tasks == 1 || helpers_.empty()) {
      for (int64_t task = 0; task < tasks; task++) body(task, 0);
      return;
    }
    start(tasks, [](const void* self, int64_t task, int thread) { (*static_cast<const Body*>(self))(task, thread); },
          &body);
  }

 private:
  using Call = void (*)(const void* body, int64_t task, int thread);
  void start(int64_t tasks, Call call, const void* body);
  void work(int thread);
  // Tasks of one loop, until none is left or the loop is over.
  void take(int thread, uint64_t round);
  uint64_t round() const { return claim_.load(std::memory_order_acquire) >> 32; }
  void next(int64_t tasks);

  std::vector<std::thread> helpers_;
  std::mutex mutex_;
  std::condition_variable wake_;
  // The number of the loop and, in the low 32 bits, how many of its tasks nobody has: whoever lowers it has claimed a task of that
  // very loop, which cannot end before that is done. A change of the number wakes the helpers.
  std::atomic<uint64_t> claim_{0};
  std::atomic<int64_t> done_{0};
  std::atomic<bool> stop_{false};
  int64_t tasks_ = 0;  // this and the next two change only while there is nothing to claim
  Call call_ = nullptr;
  const void* body_ = nullptr;
};

}  // namespace paligemma
