#include "call.h"

#include <algorithm>
#include <limits>

namespace paligemma {

std::vector<int64_t> Tensor::shape() const {
  std::vector<int64_t> dims(rank());
  for (int axis = 0; axis < rank(); axis++) dims[axis] = dim(axis);
  return dims;
}

void spoilUnlessIntact(std::initializer_list<WeightInput> weights, std::initializer_list<Tensor> outputs) {
  const bool intact = std::all_of(weights.begin(), weights.end(), [](const WeightInput& w) { return w.held.intact(); });
  if (intact) return;
  for (const Tensor& y : outputs) std::fill_n(y.floats(), y.size(), std::numeric_limits<float>::quiet_NaN());
}

bool Call::check() {
  if (TF_GetCode(status_) == TF_OK) return true;
  if (ok_) TF_OpKernelContext_Failure(context_, status_);
  ok_ = false;
  return false;
}

void Call::require(bool condition, const std::string& message) {
  if (condition || !ok_) return;
  TF_SetStatus(status_, TF_INVALID_ARGUMENT, message.c_str());
  check();
}

Tensor Call::input(int index) {
  TF_Tensor* tensor = nullptr;
  TF_GetInput(context_, index, &tensor, status_);
  return check() ? Tensor(tensor) : Tensor();
}

WeightInput Call::weight(int index) {
  WeightInput weight;
  weight.tensor = input(index);
  if (!ok_) return weight;
  if (weight.tensor.dtype() == TF_INT32) {
    bool found = weight.tensor.size() == 1 && findWeight(weight.tensor.ints()[0], &weight.held);
    require(found, "this weight was freed, or is no weight");
    weight.matrix = weight.held.matrix;
    return weight;
  }
  require(weight.tensor.rank() >= 1 && weight.tensor.dim(0) > 0, "expected a weight of at least one row");
  if (!ok_) return weight;
  int64_t rows = weight.tensor.dim(0);
  weight.matrix = {weight.tensor.floats(), Dtype::kFloat32, rows, weight.tensor.size() / rows};
  return weight;
}

Tensor Call::output(const std::vector<int64_t>& shape, int index) {
  if (!ok_) return Tensor();
  int64_t size = 1;
  for (int64_t dim : shape) size *= dim;
  TF_Tensor* tensor = TF_AllocateOutput(context_, index, TF_FLOAT, shape.data(), static_cast<int>(shape.size()),
                                        static_cast<size_t>(size) * sizeof(float), status_);
  return check() ? Tensor(tensor) : Tensor();
}

}  // namespace paligemma
