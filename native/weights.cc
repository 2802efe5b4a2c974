#include "weights.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <mutex>
#include <stdexcept>
#include <unordered_map>

namespace paligemma {
namespace {

struct Registry {
  std::mutex mutex;
  std::unordered_map<int32_t, Weight> weights;
  int32_t next = 1;
};

// Never destroyed: TensorFlow may free its last tensors after static objects are gone.
Registry& registry() {
  static Registry* only = new Registry();
  return *only;
}

}  // namespace

std::shared_ptr<Region> mapFile(int descriptor, const std::string& version) {
  auto region = std::make_shared<Region>();
  region->file = std::make_shared<MappedFile>(descriptor, version);
  region->data = region->file->data();
  region->size = region->file->size();
  return region;
}

std::shared_ptr<Region> allocateRegion(size_t size) {
  auto region = std::make_shared<Region>();
  region->owned.reset(std::malloc(size ? size : 1));
  if (!region->owned) throw std::runtime_error("no room in memory for " + std::to_string(size) + " bytes");
  region->data = static_cast<const uint8_t*>(region->owned.get());
  region->size = size;
  return region;
}

void forget(const Region& region, size_t start, size_t end) {
  if (!region.file) return;
  const size_t page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  start = (start + page - 1) / page * page;
  end = end / page * page;
  if (start < end) madvise(const_cast<uint8_t*>(region.data + start), end - start, MADV_DONTNEED);
}

void prefault(const Region& region, size_t start, size_t end) {
  if (!region.file) return;
  const size_t page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  end = std::min(end, region.size);
  start -= start % page;
  if (start >= end) return;
  void* from = const_cast<uint8_t*>(region.data + start);
#ifdef MADV_POPULATE_READ
  if (madvise(from, end - start, MADV_POPULATE_READ) == 0) return;
#endif
  madvise(from, end - start, MADV_WILLNEED);
  volatile uint8_t sink = 0;
  for (size_t at = start; at < end; at += page) sink = sink + region.data[at];
}

int32_t addWeight(Weight weight) {
  Registry& all = registry();
  std::lock_guard<std::mutex> lock(all.mutex);
  int32_t id = all.next++;
  all.weights.emplace(id, std::move(weight));
  return id;
}

bool findWeight(int32_t id, Weight* weight) {
  Registry& all = registry();
  std::lock_guard<std::mutex> lock(all.mutex);
  auto found = all.weights.find(id);
  if (found == all.weights.end()) return false;
  *weight = found->second;
  return true;
}

void removeWeight(int32_t id) {
  Weight last;  // freed after the lock: unmapping may take a while
  Registry& all = registry();
  std::lock_guard<std::mutex> lock(all.mutex);
  auto found = all.weights.find(id);
  if (found == all.weights.end()) return;
  last = std::move(found->second);
  all.weights.erase(found);
}

int64_t weightCount() {
  Registry& all = registry();
  std::lock_guard<std::mutex> lock(all.mutex);
  return static_cast<int64_t>(all.weights.size());
}

}  // namespace paligemma
