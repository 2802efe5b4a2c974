#include "stream.h"

#include <cstdlib>
#include <cstring>
#include <thread>

#include "mapped-file.h"

namespace paligemma {
namespace {

// PALIGEMMA_NUM_THREADS, or one thread for each processor that this process may use.
int threadCount() {
  const char* text = std::getenv("PALIGEMMA_NUM_THREADS");
  int asked = text ? std::atoi(text) : 0;
  int present = static_cast<int>(std::thread::hardware_concurrency());
  int count = asked > 0 ? asked : present;
  return count < 1 ? 1 : count > 256 ? 256 : count;
}

const Kernels* tableCalled(const char* name) {
  int count = 0;
  const Kernels* const* tables = availableKernels(&count);
  for (int i = 0; i < count; i++) {
    if (!name || std::strcmp(tables[i]->name, name) == 0) return tables[i];
  }
  return nullptr;
}

}  // namespace

Stream& Stream::get() {
  static Stream* stream = new Stream();
  return *stream;
}

Stream::Stream() : pool_(threadCount()), kernels_(tableCalled(nullptr)) {
  std::thread([this] { work(); }).detach();
}

void Stream::enqueue(Task task) {
  collect();
  {
    std::lock_guard<std::mutex> lock(mutex_);
    queue_.push_back({std::move(task), std::this_thread::get_id()});
    enqueued_++;
  }
  wake_.notify_one();
}

void Stream::wait() {
  std::unique_lock<std::mutex> lock(mutex_);
  uint64_t target = enqueued_;
  done_.wait(lock, [&] { return completed_ >= target; });
}

void Stream::collect() {
  std::vector<Task> mine;  // destroyed after the lock
  std::lock_guard<std::mutex> lock(mutex_);
  auto found = finished_.find(std::this_thread::get_id());
  if (found != finished_.end()) mine.swap(found->second);
}

bool Stream::select(const char* name) {
  const Kernels* table = tableCalled(name);
  if (!table) return false;
  wait();
  std::lock_guard<std::mutex> lock(mutex_);
  kernels_ = table;
  return true;
}

void Stream::work() {
  receiveFaults();
  for (;;) {
    Item item;
    const Kernels* kernels;
    {
      std::unique_lock<std::mutex> lock(mutex_);
      wake_.wait(lock, [&] { return !queue_.empty(); });
      item = std::move(queue_.front());
      queue_.pop_front();
      kernels = kernels_;
    }
    item.task(*kernels, pool_);
    {
      std::lock_guard<std::mutex> lock(mutex_);
      finished_[item.owner].push_back(std::move(item.task));
      completed_++;
    }
    done_.notify_all();
  }
}

}  // namespace paligemma
