// A file mapped for reading, and what happens to it while it is mapped.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <string>

namespace paligemma {

// What tells one content of a file from another without reading it.
struct Version {
  uint64_t device = 0, inode = 0;
  int64_t size = -1, changed = 0;  // bytes; nanoseconds since 1970

  bool operator==(const Version& other) const {
    return device == other.device && inode == other.inode && size == other.size && changed == other.changed;
  }
  // "device:inode:size:changed", as JavaScript gives it.
  std::string text() const;
};

// Of an open file; of size -1 where the system does not say.
Version versionOf(int descriptor);

struct Place;  // of a mapping, as the handler of SIGBUS finds it

// Maps the file of a descriptor, which stays the caller's. A page that the file has lost (it was cut, or its disk failed) reads as
// zeros instead of ending the process with SIGBUS, and `fault` reports it.
class MappedFile {
 public:
  // `version`: that of the file when it was opened, as text. Throws std::runtime_error for a file that has changed since, and with the system's words.
  MappedFile(int descriptor, const std::string& version);
  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  const uint8_t* data() const { return data_; }
  size_t size() const { return size_; }
  // Null while every byte that was read is that of the file as it was opened, else what happened to it. Once set it stays.
  const char* fault() const;

 private:
  const uint8_t* data_ = nullptr;
  size_t size_ = 0;
  int descriptor_ = -1;
  Version version_;
  Place* place_ = nullptr;
  mutable std::atomic<bool> changed_{false};
};

// Lets the calling thread receive SIGBUS: a blocked one ends the process, and threads of others may block every signal.
void receiveFaults();

}  // namespace paligemma
