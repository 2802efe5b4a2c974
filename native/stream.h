// The queue on which every kernel runs, in the order of calls, beside the thread that called.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>
#include <unordered_map>
#include <vector>

#include "kernels.h"
#include "pool.h"

namespace paligemma {

// One for the process, as a GPU would be: JavaScript adds work and goes on, and waits before it reads a result. Tasks own
// what they touch, so that a tensor may be disposed while its last task is still waiting.
class Stream {
 public:
  using Task = std::function<void(const Kernels&, Pool&)>;

  // Never destroyed: at exit its thread may still be inside a task.
  static Stream& get();

  // From a thread of JavaScript, which is also where the task is destroyed, at a later `enqueue` or `collect`: a tensor may
  // share memory with JavaScript, and its last owner gives that back.
  void enqueue(Task task);
  // Returns when everything that was enqueued before the call is done.
  void wait();
  // Destroys the finished tasks of the calling thread.
  void collect();

  const Kernels& kernels() const { return *kernels_; }
  int threads() const { return pool_.threads(); }
  // Waits, then changes the table; false when this processor cannot run that one.
  bool select(const char* name);

 private:
  Stream();
  void work();

  Pool pool_;
  const Kernels* kernels_;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::condition_variable done_;
  struct Item {
    Task task;
    std::thread::id owner;
  };
  std::deque<Item> queue_;
  std::unordered_map<std::thread::id, std::vector<Task>> finished_;
  uint64_t enqueued_ = 0;
  uint64_t completed_ = 0;
};

}  // namespace paligemma
