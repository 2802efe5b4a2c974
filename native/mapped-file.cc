#include "mapped-file.h"

#include <fcntl.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstring>
#include <mutex>
#include <stdexcept>

namespace paligemma {

// Never freed, so that the handler may walk the list at any time: some bytes for each file that is mapped.
struct Place {
  uintptr_t start;
  size_t length;  // whole pages
  std::atomic<bool> mapped;
  std::atomic<bool> cut;
  Place* next;
};

namespace {

std::atomic<Place*> places{nullptr};
struct sigaction before;

size_t pageSize() {
  static const auto size = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  return size;
}

Place* placeOf(uintptr_t address) {
  for (Place* place = places.load(std::memory_order_acquire); place; place = place->next) {
    bool inside = address >= place->start && address - place->start < place->length;
    if (inside && place->mapped.load(std::memory_order_acquire)) return place;
  }
  return nullptr;
}

// Zeros from the page of `address` to the end of the mapping: what lies behind the end of a file that was cut is lost as well.
bool replaceFrom(uintptr_t address, Place* place) {
  const int error = errno;
  place->cut.store(true);
  const uintptr_t page = address - address % pageSize();
  constexpr int kFlags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE;
  void* made = mmap(reinterpret_cast<void*>(page), place->start + place->length - page, PROT_READ, kFlags, -1, 0);
  errno = error;
  return made != MAP_FAILED;
}

// Hands a fault that is not ours on to the handler that was there before.
void handOn(int signal, siginfo_t* info, void* context) {
  if (before.sa_flags & SA_SIGINFO) return before.sa_sigaction(signal, info, context);
  if (before.sa_handler != SIG_DFL && before.sa_handler != SIG_IGN) return before.sa_handler(signal);
  ::signal(signal, SIG_DFL);
  if (info->si_code <= 0) raise(signal);  // sent by a process; else the access is tried again, and ends this one
}

void onFault(int signal, siginfo_t* info, void* context) {
  const auto address = reinterpret_cast<uintptr_t>(info->si_addr);
  Place* place = info->si_code > 0 ? placeOf(address) : nullptr;  // a signal that was sent has no address
  if (!place || !replaceFrom(address, place)) handOn(signal, info, context);
}

void handleFaults() {
  static std::once_flag once;
  std::call_once(once, [] {
    pageSize();  // known before a handler asks
    struct sigaction ours = {};
    ours.sa_sigaction = onFault;
    ours.sa_flags = SA_SIGINFO | SA_ONSTACK;
    sigemptyset(&ours.sa_mask);
    if (sigaction(SIGBUS, &ours, &before) != 0) throw std::runtime_error(std::strerror(errno));
  });
}

Place* addPlace(const void* data, size_t size) {
  const size_t pages = (size + pageSize() - 1) / pageSize();
  auto* place = new Place{reinterpret_cast<uintptr_t>(data), pages * pageSize(), {true}, {false}, places.load()};
  while (!places.compare_exchange_weak(place->next, place)) {
  }
  return place;
}

}  // namespace

std::string Version::text() const {
  return std::to_string(device) + ":" + std::to_string(inode) + ":" + std::to_string(size) + ":" + std::to_string(changed);
}

Version versionOf(int descriptor) {
  struct stat info;
  if (fstat(descriptor, &info) < 0) return {};
#if defined(__APPLE__)
  const struct timespec& changed = info.st_mtimespec;
#else
  const struct timespec& changed = info.st_mtim;
#endif
  const int64_t nanoseconds = static_cast<int64_t>(changed.tv_sec) * 1000000000 + changed.tv_nsec;
  return {static_cast<uint64_t>(info.st_dev), static_cast<uint64_t>(info.st_ino), static_cast<int64_t>(info.st_size), nanoseconds};
}

MappedFile::MappedFile(int descriptor, const std::string& version) : version_(versionOf(descriptor)) {
  if (version_.text() != version) throw std::runtime_error("it was changed since it was opened");
  if (version_.size == 0) throw std::runtime_error("it is empty");
  handleFaults();
  size_ = static_cast<size_t>(version_.size);
  descriptor_ = fcntl(descriptor, F_DUPFD_CLOEXEC, 3);  // kept to ask for the version again
  if (descriptor_ < 0) throw std::runtime_error(std::strerror(errno));
  void* data = mmap(nullptr, size_, PROT_READ, MAP_SHARED, descriptor_, 0);
  if (data == MAP_FAILED) {
    const int error = errno;
    close(descriptor_);
    throw std::runtime_error(std::strerror(error));
  }
  data_ = static_cast<const uint8_t*>(data);
  place_ = addPlace(data, size_);
}

MappedFile::~MappedFile() {
  place_->mapped.store(false, std::memory_order_release);
  munmap(const_cast<uint8_t*>(data_), size_);
  close(descriptor_);
}

const char* MappedFile::fault() const {
  if (place_->cut.load()) return "it was cut while it was in use";
  if (!changed_.load() && !(versionOf(descriptor_) == version_)) changed_.store(true);
  return changed_.load() ? "it was written to while it was in use" : nullptr;
}

void receiveFaults() {
  sigset_t faults;
  sigemptyset(&faults);
  sigaddset(&faults, SIGBUS);
  pthread_sigmask(SIG_UNBLOCK, &faults, nullptr);
}

}  // namespace paligemma
