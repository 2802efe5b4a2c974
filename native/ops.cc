#include "ops.h"

#include <mutex>
#include <string>

#include "ops/op.h"
#include "tensorflow/c/ops.h"

namespace paligemma {
namespace {

void readAttribute(TF_OpKernelConstruction* construction, const char* name, float* value, TF_Status* status) {
  if (TF_OpKernelConstruction_HasAttr(construction, name, status)) {
    TF_OpKernelConstruction_GetAttrFloat(construction, name, value, status);
  }
}

void readAttribute(TF_OpKernelConstruction* construction, const char* name, int64_t* value, TF_Status* status) {
  if (TF_OpKernelConstruction_HasAttr(construction, name, status)) {
    TF_OpKernelConstruction_GetAttrInt64(construction, name, value, status);
  }
}

void* create(TF_OpKernelConstruction* construction) {
  auto* attributes = new Attributes();
  TF_Status* status = TF_NewStatus();
  readAttribute(construction, "scale", &attributes->scale, status);
  readAttribute(construction, "softcap", &attributes->softcap, status);
  readAttribute(construction, "eps", &attributes->eps, status);
  readAttribute(construction, "activation", &attributes->activation, status);
  readAttribute(construction, "coarse", &attributes->coarse, status);
  readAttribute(construction, "among", &attributes->among, status);
  readAttribute(construction, "inner", &attributes->inner, status);
  readAttribute(construction, "headDim", &attributes->headDim, status);
  readAttribute(construction, "window", &attributes->window, status);
  readAttribute(construction, "queries", &attributes->queries, status);
  readAttribute(construction, "masked", &attributes->masked, status);
  TF_DeleteStatus(status);
  return attributes;
}

void destroy(void* kernel) { delete static_cast<Attributes*>(kernel); }

std::vector<Op> ops() {
  std::vector<Op> all;
  for (auto some : {productOps, weightOps, normOps, pointwiseOps, attentionOps, rowOps}) {
    for (const Op& op : some()) all.push_back(op);
  }
  return all;
}

void unknownShape(TF_ShapeInferenceContext* context, TF_Status* status) {
  TF_ShapeInferenceContextSetUnknownShape(context, status);
}

void registerOp(const Op& op, TF_Status* status) {
  TF_OpDefinitionBuilder* definition = TF_NewOpDefinitionBuilder(op.name);
  for (const char* attribute : op.attributes) TF_OpDefinitionBuilderAddAttr(definition, attribute);
  for (const char* input : op.inputs) TF_OpDefinitionBuilderAddInput(definition, input);
  for (const char* output : op.outputs) TF_OpDefinitionBuilderAddOutput(definition, output);
  TF_OpDefinitionBuilderSetIsStateful(definition, true);
  TF_OpDefinitionBuilderSetShapeInferenceFunction(definition, unknownShape);
  TF_RegisterOpDefinition(definition, status);
  if (TF_GetCode(status) != TF_OK) return;
  TF_KernelBuilder* kernel = TF_NewKernelBuilder(op.name, "CPU", create, op.compute, destroy);
  TF_RegisterKernelBuilder(op.name, kernel, status);
}

}  // namespace

const char* registerOps() {
  static std::once_flag once;
  static std::string* problem = new std::string();
  std::call_once(once, [] {
    TF_Status* status = TF_NewStatus();
    for (const Op& op : ops()) {
      registerOp(op, status);
      if (TF_GetCode(status) == TF_OK) continue;
      *problem = std::string(op.name) + ": " + TF_Message(status);
      break;
    }
    TF_DeleteStatus(status);
  });
  return problem->empty() ? nullptr : problem->c_str();
}

}  // namespace paligemma
