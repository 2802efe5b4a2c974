#pragma once

namespace paligemma {

// Registers the ops `Paligemma*` with the TensorFlow of this process, once; they then run like TensorFlow's own, for the
// CPU. Returns null, or what TensorFlow refused.
const char* registerOps();

}  // namespace paligemma
