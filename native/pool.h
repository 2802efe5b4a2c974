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
// and returns when all are done. Tasks are handed out one by one in rising order, so uneven tasks balance. One `run` at a
// time; the body must not throw and must not call `run`.
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
  void take(int thread);

  std::vector<std::thread> helpers_;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::atomic<uint64_t> round_{0};  // counts loops; a change wakes the helpers
  std::atomic<int> busy_{0};        // helpers that have not finished the current loop
  std::atomic<int64_t> next_{0};
  std::atomic<bool> stop_{false};
  int64_t tasks_ = 0;
  Call call_ = nullptr;
  const void* body_ = nullptr;
};

}  // namespace paligemma
