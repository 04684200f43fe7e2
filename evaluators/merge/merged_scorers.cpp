#include <stdexcept>

#include "evaluators/merge/classifier_scorer.hpp"
#include "evaluators/merge/merged_scorer.hpp"

namespace paretod {

const TensorView* MergedWeights::find(std::string_view name) const {
  for (const TensorView& tensor : tensors_) {
    if (tensor.name == name) return &tensor;
  }
  return nullptr;
}

std::span<const float> MergedWeights::floats(std::string_view name) const {
  const TensorView* tensor = find(name);
  if (tensor == nullptr || tensor->dtype != DType::f32) {
    throw std::logic_error("no merged F32 tensor is called " + std::string(name));
  }
  return {reinterpret_cast<const float*>(tensor->bytes.data()), tensor->elements()};
}

std::vector<MergedScorerType> merged_scorer_types() {
  return {{"classifier",
           "A multi-layer perceptron that classifies: accuracy and cross-entropy per task.",
           classifier_scorer}};
}

}  // namespace paretod
