// Weights in the form that their file has: regions of memory, and matrices inside them.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <memory>
#include <string>

#include "kernels.h"
#include "mapped-file.h"

namespace paligemma {

// Bytes that live as long as anything refers to them: a mapped file, or memory of this process.
struct Region {
  const uint8_t* data = nullptr;
  size_t size = 0;
  std::shared_ptr<MappedFile> file;        // null for memory
  std::unique_ptr<void, void (*)(void*)> owned{nullptr, std::free};
  bool intact() const { return !file || !file->fault(); }
};

// Maps the file of a descriptor for reading. Throws what MappedFile throws.
std::shared_ptr<Region> mapFile(int descriptor, const std::string& version);

// Brings the bytes [start, end) of a mapped file into memory, on the calling thread. Only a hint where it fails: what is
// missing comes at the first access.
void prefault(const Region& region, size_t start, size_t end);

// The opposite: whole pages of a mapped file in [start, end) leave this process. They come back at the next access.
void forget(const Region& region, size_t start, size_t end);

// Memory of this process. Throws std::runtime_error where there is none left.
std::shared_ptr<Region> allocateRegion(size_t size);

// A matrix that a kernel may read as long as this is held.
struct Weight {
  std::shared_ptr<Region> region;
  Matrix matrix;
  std::shared_ptr<Region> scales;  // of a packed matrix
  // Whether the file behind it is still as it was opened.
  bool intact() const { return !region || region->intact(); }
};

// Numbers for weights, which travel through TensorFlow as int32 tensors in their place.
int32_t addWeight(Weight weight);
// False for a number that nothing has (any more).
bool findWeight(int32_t id, Weight* weight);
void removeWeight(int32_t id);
int64_t weightCount();

}  // namespace paligemma
