// Weights in the form that their file has: regions of memory, and matrices inside them.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "kernels.h"

namespace paligemma {

// Bytes that live as long as anybody refers to them: a mapped file, or memory of JavaScript.
struct Region {
  const uint8_t* data = nullptr;
  size_t size = 0;
  bool mapped = false;
  std::function<void()> release;
  ~Region() {
    if (release) release();
  }
};

// Maps a file for reading. Throws std::runtime_error with the system's words.
std::shared_ptr<Region> mapFile(const std::string& path);

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
};

// Numbers for weights, which travel through TensorFlow as int32 tensors in their place.
int32_t addWeight(Weight weight);
// False for a number that nothing has (any more).
bool findWeight(int32_t id, Weight* weight);
void removeWeight(int32_t id);
int64_t weightCount();

}  // namespace paligemma
