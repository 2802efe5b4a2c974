// What JavaScript sees: regions of memory, weights in them, and the stream.
#define NAPI_VERSION 8
#include <node_api.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <iterator>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "ops.h"
#include "stream.h"
#include "weights.h"

namespace paligemma {
namespace {

struct Regions {
  std::mutex mutex;
  std::unordered_map<int32_t, std::shared_ptr<Region>> open;
  std::unordered_map<int32_t, std::weak_ptr<MappedFile>> files;  // of mapped regions, also after they were closed
  int32_t next = 1;
};

Regions& regions() {
  static Regions* only = new Regions();
  return *only;
}

// What one environment (the main thread, or a worker) has opened; with it that is closed.
struct Environment {
  std::unordered_set<int32_t> regions;
};

Environment& environmentOf(napi_env env) {
  void* found = nullptr;
  napi_get_instance_data(env, &found);
  return *static_cast<Environment*>(found);
}

int32_t openRegion(napi_env env, std::shared_ptr<Region> region) {
  std::lock_guard<std::mutex> lock(regions().mutex);
  auto& files = regions().files;
  for (auto at = files.begin(); at != files.end();) at = at->second.expired() ? files.erase(at) : std::next(at);
  if (region->file) files.emplace(regions().next, region->file);
  regions().open.emplace(regions().next, std::move(region));
  environmentOf(env).regions.insert(regions().next);
  return regions().next++;
}

// Weights in the region keep it alive.
void closeRegion(int32_t id) {
  std::shared_ptr<Region> last;  // freed after the lock: unmapping may take a while
  std::lock_guard<std::mutex> lock(regions().mutex);
  auto found = regions().open.find(id);
  if (found == regions().open.end()) return;
  last = std::move(found->second);
  regions().open.erase(found);
}

std::shared_ptr<Region> regionAt(int32_t id) {
  std::lock_guard<std::mutex> lock(regions().mutex);
  auto found = regions().open.find(id);
  if (found == regions().open.end()) throw std::runtime_error("this region was closed, or never was one");
  return found->second;
}

// The arguments of one call from JavaScript.
class Arguments {
 public:
  Arguments(napi_env env, napi_callback_info info) : env_(env) {
    napi_get_cb_info(env, info, &count_, values_, nullptr, nullptr);
  }
  napi_value at(size_t index) const {
    if (index >= count_) throw std::runtime_error("too few arguments");
    return values_[index];
  }
  int64_t integer(size_t index) const {
    double value;
    bool whole = napi_get_value_double(env_, at(index), &value) == napi_ok && std::floor(value) == value;
    if (!whole || value < 0 || value > 9007199254740991.0) throw std::runtime_error("expected a whole number >= 0");
    return static_cast<int64_t>(value);
  }
  std::string text(size_t index) const {
    size_t length = 0;
    if (napi_get_value_string_utf8(env_, at(index), nullptr, 0, &length) != napi_ok) {
      throw std::runtime_error("expected a text");
    }
    std::string text(length, '\0');
    napi_get_value_string_utf8(env_, at(index), &text[0], length + 1, &length);
    return text;
  }

 private:
  napi_env env_;
  size_t count_ = 8;
  napi_value values_[8];
};

napi_value number(napi_env env, double value) {
  napi_value result;
  napi_create_double(env, value, &result);
  return result;
}

// map(descriptor, version) -> region; `version`: "device:inode:size:nanoseconds of its last change" when it was opened
napi_value map(napi_env env, const Arguments& arguments) {
  return number(env, openRegion(env, mapFile(static_cast<int>(arguments.integer(0)), arguments.text(1))));
}

// fault(region) -> what happened to its file since it was opened, "" for nothing; also of a region that is closed
napi_value fault(napi_env env, const Arguments& arguments) {
  std::shared_ptr<MappedFile> file;
  {
    std::lock_guard<std::mutex> lock(regions().mutex);
    auto found = regions().files.find(static_cast<int32_t>(arguments.integer(0)));
    if (found != regions().files.end()) file = found->second.lock();
  }
  const char* what = file ? file->fault() : nullptr;
  napi_value result;
  napi_create_string_utf8(env, what ? what : "", NAPI_AUTO_LENGTH, &result);
  return result;
}

// copy(bytes: Uint8Array) -> region that owns a copy
napi_value copy(napi_env env, const Arguments& arguments) {
  napi_typedarray_type type;
  size_t length;
  void* data;
  if (napi_get_typedarray_info(env, arguments.at(0), &type, &length, &data, nullptr, nullptr) != napi_ok ||
      type != napi_uint8_array) {
    throw std::runtime_error("expected a Uint8Array");
  }
  std::shared_ptr<Region> region = allocateRegion(length);
  std::memcpy(const_cast<uint8_t*>(region->data), data, length);
  return number(env, openRegion(env, region));
}

// close(region): forgets it; weights in it keep it alive.
napi_value close(napi_env env, const Arguments& arguments) {
  auto id = static_cast<int32_t>(arguments.integer(0));
  environmentOf(env).regions.erase(id);
  closeRegion(id);
  return nullptr;
}

Dtype storedType(int64_t type) {
  if (type != 1 && type != 14 && type != 19) throw std::runtime_error("expected the type 1, 14 or 19");
  return static_cast<Dtype>(type);
}

// Throws unless a matrix of `halfBytes` for two numbers lies inside its region.
void requireInside(const Region& region, uint64_t offset, int64_t rows, int64_t cols, int64_t halfBytes) {
  unsigned __int128 bytes = (static_cast<unsigned __int128>(rows) * static_cast<uint64_t>(cols) * halfBytes + 1) / 2;
  if (rows < 1 || cols < 1 || offset > region.size || bytes > region.size - offset) {
    throw std::runtime_error("the weight does not lie inside its region");
  }
}

// weight(region, offset, dtype, rows, cols) -> the number for the op PaligemmaHold, which takes the weight over
napi_value weight(napi_env env, const Arguments& arguments) {
  std::shared_ptr<Region> region = regionAt(static_cast<int32_t>(arguments.integer(0)));
  auto offset = static_cast<uint64_t>(arguments.integer(1));
  int64_t type = arguments.integer(2);
  int64_t rows = arguments.integer(3), cols = arguments.integer(4);
  Dtype dtype = storedType(type);
  requireInside(*region, offset, rows, cols, bytesOf(dtype) * 2);
  return number(env, addWeight({region, {region->data + offset, dtype, rows, cols}, nullptr}));
}

// packed(region, offset, scales, kind, blockSize, rounding, rows, cols) -> as `weight`, of a packed matrix: of kind 6 (int8)
// with `scales` the region of a float for each row, or 100 (codes of 4 bit) with that of the codebook [16] and then a float for each block.
napi_value packed(napi_env env, const Arguments& arguments) {
  std::shared_ptr<Region> region = regionAt(static_cast<int32_t>(arguments.integer(0)));
  auto offset = static_cast<uint64_t>(arguments.integer(1));
  std::shared_ptr<Region> scales = regionAt(static_cast<int32_t>(arguments.integer(2)));
  int64_t kind = arguments.integer(3), blockSize = arguments.integer(4), rounding = arguments.integer(5);
  int64_t rows = arguments.integer(6), cols = arguments.integer(7);
  if (kind != 6 && kind != 100) throw std::runtime_error("expected the kind 6 or 100");
  const bool codes = kind == 100;
  if (codes && (blockSize < 1 || (blockSize & (blockSize - 1)) != 0)) {
    throw std::runtime_error("expected blocks of a power of two");
  }
  requireInside(*region, offset, rows, cols, codes ? 1 : 2);
  const uint64_t numbers = static_cast<uint64_t>(rows) * static_cast<uint64_t>(cols);
  const uint64_t floats = codes ? 16 + (numbers + blockSize - 1) / blockSize : rows;
  if (scales->size / sizeof(float) < floats) throw std::runtime_error("there are fewer scales than the weight needs");
  const auto* values = reinterpret_cast<const float*>(scales->data);
  Matrix matrix = {region->data + offset, static_cast<Dtype>(kind), rows, cols};
  matrix.scales = codes ? values + 16 : values;
  matrix.codebook = codes ? values : nullptr;
  while (codes && (int64_t{1} << matrix.blockShift) < blockSize) matrix.blockShift++;
  matrix.rounding = storedType(rounding);
  return number(env, addWeight({region, matrix, scales}));
}

// exclusively(work) -> what it returns; no other thread is inside such a call meanwhile
napi_value exclusively(napi_env env, const Arguments& arguments) {
  static std::mutex* mutex = new std::mutex();
  std::lock_guard<std::mutex> lock(*mutex);
  napi_value receiver, result = nullptr;
  napi_get_undefined(env, &receiver);
  napi_call_function(env, receiver, arguments.at(0), 0, nullptr, &result);  // what it throws is thrown on
  return result;
}

// A promise that is kept by a thread of libuv's pool.
struct Work {
  std::function<void()> body;
  std::function<napi_value(napi_env)> result;  // null: undefined
  napi_deferred deferred;
  napi_async_work handle;
};

napi_value promise(napi_env env, const char* name, std::function<void()> body,
                   std::function<napi_value(napi_env)> made = nullptr) {
  auto* work = new Work{std::move(body), std::move(made), nullptr, nullptr};
  napi_value result, label;
  napi_create_promise(env, &work->deferred, &result);
  napi_create_string_utf8(env, name, NAPI_AUTO_LENGTH, &label);
  napi_create_async_work(
      env, nullptr, label, [](napi_env, void* data) {
        receiveFaults();
        static_cast<Work*>(data)->body();
      },
      [](napi_env env, napi_status, void* data) {
        auto* work = static_cast<Work*>(data);
        Stream::get().collect();
        napi_value value;
        napi_get_undefined(env, &value);
        if (work->result) value = work->result(env);
        napi_resolve_deferred(env, work->deferred, value);
        napi_delete_async_work(env, work->handle);
        delete work;
      },
      work, &work->handle);
  napi_queue_async_work(env, work->handle);
  return result;
}

// prefault(region, start, end) -> promise, kept when these bytes are in memory
napi_value prefaultRegion(napi_env env, const Arguments& arguments) {
  std::shared_ptr<Region> region = regionAt(static_cast<int32_t>(arguments.integer(0)));
  auto start = static_cast<size_t>(arguments.integer(1));
  auto end = static_cast<size_t>(arguments.integer(2));
  return promise(env, "paligemma.prefault", [=] { prefault(*region, start, end); });
}

// The numbers of a Float32Array.
std::vector<float> floats(napi_env env, napi_value value, size_t count) {
  napi_typedarray_type type;
  size_t length;
  void* data;
  if (napi_get_typedarray_info(env, value, &type, &length, &data, nullptr, nullptr) != napi_ok ||
      type != napi_float32_array || length != count) {
    throw std::runtime_error("expected a Float32Array of " + std::to_string(count));
  }
  return std::vector<float>(static_cast<float*>(data), static_cast<float*>(data) + count);
}

// What is packed at once: 16 MiB of 16-bit numbers are in memory beside their codes, and not a whole matrix.
constexpr int64_t kNumbersAtOnce = int64_t{1} << 23;

// quantise(region, offset, dtype, rows, cols, kind, table) -> promise of [region, region], the codes and the scales as `packed`
// takes them; pages of a mapped file come piece by piece and leave the process again. `table` of kind 100: 16 codebook values, the 15
// points between them in rising order, and the code of each of the 16 intervals.
napi_value quantise(napi_env env, const Arguments& arguments) {
  std::shared_ptr<Region> region = regionAt(static_cast<int32_t>(arguments.integer(0)));
  auto offset = static_cast<uint64_t>(arguments.integer(1));
  Dtype dtype = storedType(arguments.integer(2));
  int64_t rows = arguments.integer(3), cols = arguments.integer(4), kind = arguments.integer(5);
  if (kind != 6 && kind != 100) throw std::runtime_error("expected the kind 6 or 100");
  std::vector<float> table = kind == 100 ? floats(env, arguments.at(6), 47) : std::vector<float>();
  requireInside(*region, offset, rows, cols, bytesOf(dtype) * 2);
  const auto numbers = static_cast<size_t>(rows * cols);
  std::shared_ptr<Region> codes = allocateRegion(kind == 100 ? (numbers + 1) / 2 : numbers);
  std::shared_ptr<Region> scales = allocateRegion((kind == 100 ? 16 + (numbers + 63) / 64 : rows) * sizeof(float));
  const Kernels& kernels = Stream::get().kernels();
  return promise(
      env, "paligemma.quantise",
      [=, &kernels] {
        auto* values = reinterpret_cast<float*>(const_cast<uint8_t*>(scales->data));
        auto* written = const_cast<uint8_t*>(codes->data);
        uint8_t byInterval[16];
        if (kind == 100) {
          for (int i = 0; i < 16; i++) byInterval[i] = static_cast<uint8_t>(table[31 + i]);
          std::memcpy(values, table.data(), 16 * sizeof(float));
        }
        const int64_t width = kind == 100 ? 64 : cols;  // of a scale
        const int64_t step = std::max<int64_t>(1, kNumbersAtOnce / width) * width;
        const auto total = static_cast<int64_t>(numbers);
        for (int64_t at = 0; at < total; at += step) {
          const int64_t count = std::min(step, total - at);
          const uint64_t start = offset + at * bytesOf(dtype), end = start + count * bytesOf(dtype);
          prefault(*region, start, end);
          const uint8_t* stored = region->data + start;
          if (kind == 6) {
            kernels.quantise8(stored, dtype, count / cols, cols, reinterpret_cast<int8_t*>(written + at), values + at / cols);
          } else {
            kernels.quantise4(stored, dtype, count, table.data() + 16, byInterval, written + at / 2, values + 16 + at / 64);
          }
          forget(*region, start, end);
        }
      },
      [=](napi_env env) {
        napi_value both;
        napi_create_array_with_length(env, 2, &both);
        napi_set_element(env, both, 0, number(env, openRegion(env, codes)));
        napi_set_element(env, both, 1, number(env, openRegion(env, scales)));
        return both;
      });
}

// idle() -> promise, kept when everything enqueued before is done
napi_value idle(napi_env env, const Arguments&) {
  return promise(env, "paligemma.idle", [] { Stream::get().wait(); });
}

// wait(): the same, blocking
napi_value wait(napi_env, const Arguments&) {
  Stream::get().wait();
  Stream::get().collect();
  return nullptr;
}

// select(name) -> whether this processor has that instruction set; "" for the best
napi_value select(napi_env env, const Arguments& arguments) {
  std::string name = arguments.text(0);
  napi_value result;
  napi_get_boolean(env, Stream::get().select(name.empty() ? nullptr : name.c_str()), &result);
  return result;
}

// info() -> { instructions, available, threads, weights }
napi_value info(napi_env env, const Arguments&) {
  napi_value result, list;
  auto text = [&](const char* value) {
    napi_value made;
    napi_create_string_utf8(env, value, NAPI_AUTO_LENGTH, &made);
    return made;
  };
  napi_create_object(env, &result);
  napi_create_array(env, &list);
  int count = 0;
  const Kernels* const* tables = availableKernels(&count);
  for (int i = 0; i < count; i++) napi_set_element(env, list, static_cast<uint32_t>(i), text(tables[i]->name));
  napi_set_named_property(env, result, "instructions", text(Stream::get().kernels().name));
  napi_set_named_property(env, result, "available", list);
  napi_set_named_property(env, result, "threads", number(env, Stream::get().threads()));
  napi_set_named_property(env, result, "weights", number(env, static_cast<double>(weightCount())));
  return result;
}

// Calls `body` so that a C++ exception becomes one of JavaScript.
template <napi_value (*body)(napi_env, const Arguments&)>
napi_value guarded(napi_env env, napi_callback_info info) {
  try {
    return body(env, Arguments(env, info));
  } catch (const std::exception& error) {
    napi_throw_error(env, nullptr, error.what());
    return nullptr;
  }
}

// Closes what a worker that ends has left open.
void endEnvironment(napi_env, void* data, void*) {
  std::unique_ptr<Environment> environment(static_cast<Environment*>(data));
  for (int32_t id : environment->regions) closeRegion(id);
}

template <napi_value (*body)(napi_env, const Arguments&)>
void put(napi_env env, napi_value exports, const char* name) {
  napi_value function;
  napi_create_function(env, name, NAPI_AUTO_LENGTH, guarded<body>, nullptr, &function);
  napi_set_named_property(env, exports, name, function);
}

}  // namespace
}  // namespace paligemma

NAPI_MODULE_INIT() {
  using namespace paligemma;
  if (const char* problem = registerOps()) {
    napi_throw_error(env, nullptr, problem);
    return nullptr;
  }
  auto* environment = new Environment();
  napi_set_instance_data(env, environment, endEnvironment, nullptr);
  put<map>(env, exports, "map");
  put<fault>(env, exports, "fault");
  put<exclusively>(env, exports, "exclusively");
  put<copy>(env, exports, "copy");
  put<packed>(env, exports, "packed");
  put<quantise>(env, exports, "quantise");
  put<close>(env, exports, "close");
  put<weight>(env, exports, "weight");
  put<prefaultRegion>(env, exports, "prefault");
  put<idle>(env, exports, "idle");
  put<wait>(env, exports, "wait");
  put<select>(env, exports, "select");
  put<info>(env, exports, "info");
  // A process or a worker that ends while the stream is busy would free what its tasks still use.
  napi_add_env_cleanup_hook(env, [](void*) {
    Stream::get().wait();
    Stream::get().collect();
  }, environment);  // two hooks of one environment with the same argument end the process
  return exports;
}
