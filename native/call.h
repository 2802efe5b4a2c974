// What the kernels of TensorFlow ops have in common: reading inputs, making outputs, refusing.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <memory>
#include <string>
#include <vector>

#include "kernels.h"
#include "tensorflow/c/kernels.h"
#include "tensorflow/c/tf_status.h"
#include "tensorflow/c/tf_tensor.h"
#include "weights.h"

namespace paligemma {

// A tensor that is shared with TensorFlow: it lives until the last copy of this is gone, whatever JavaScript disposes.
class Tensor {
 public:
  Tensor() = default;
  explicit Tensor(TF_Tensor* tensor) : tensor_(tensor, [](TF_Tensor* t) { TF_DeleteTensor(t); }) {}

  explicit operator bool() const { return tensor_ != nullptr; }
  int rank() const { return TF_NumDims(tensor_.get()); }
  // The size of an axis; a negative axis counts from the end.
  int64_t dim(int axis) const { return TF_Dim(tensor_.get(), axis < 0 ? rank() + axis : axis); }
  int64_t size() const { return TF_TensorElementCount(tensor_.get()); }
  std::vector<int64_t> shape() const;
  TF_DataType dtype() const { return TF_TensorType(tensor_.get()); }
  float* floats() const { return static_cast<float*>(TF_TensorData(tensor_.get())); }
  int32_t* ints() const { return static_cast<int32_t*>(TF_TensorData(tensor_.get())); }

 private:
  std::shared_ptr<TF_Tensor> tensor_;
};

// A weight of an op: held in its stored form, or an ordinary float tensor.
struct WeightInput {
  Weight held;
  Tensor tensor;
  Matrix matrix{};
};

// Fills the outputs with NaN where a file behind the weights is not what it was when it was opened: a result is right, or is none.
void spoilUnlessIntact(std::initializer_list<WeightInput> weights, std::initializer_list<Tensor> outputs);

// One run of an op. After the first refusal `ok` is false and TensorFlow reports the reason.
class Call {
 public:
  explicit Call(TF_OpKernelContext* context) : context_(context), status_(TF_NewStatus()) {}
  ~Call() { TF_DeleteStatus(status_); }
  Call(const Call&) = delete;
  Call& operator=(const Call&) = delete;

  bool ok() const { return ok_; }
  int inputs() const { return TF_NumInputs(context_); }
  Tensor input(int index);
  // An int32 input [1] is the number of a held weight; a float input [out, ...] is the matrix itself.
  WeightInput weight(int index);
  Tensor output(const std::vector<int64_t>& shape, int index = 0);
  void require(bool condition, const std::string& message);

 private:
  bool check();

  TF_OpKernelContext* context_;
  TF_Status* status_;
  bool ok_ = true;
};

}  // namespace paligemma
