#pragma once
// What the classifier scorer measures on: the description file, and the examples that it names.
// Immutable after construction; any thread.
//
// The description is a JSON object; files are relative to its folder:
//   layers      names of the linear layers in their order: tensors NAME.weight [out, in], NAME.bias
//   activation  between layers: relu (the default), tanh or silu
//   objectives  accuracy (the default), loss or both; the other is given as metrics
//   scale, offset  the network sees scale * stored + offset; 1 and 0 without them
//   search      a safetensors file with the examples to search with
//   heldout     one with others, for metrics that no search looks at (optional)
//   tasks       [{"name", "inputs", "labels"}]: the tensors of each task in both files, inputs
//               [n, ...] of any numeric dtype, labels [n] whole numbers from 0

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "evaluators/diffusion/aligned.hpp"
#include "optimizers/core/result.hpp"

namespace paretod {

/// The examples of one task, in an order that was shuffled once and for all: any block of them is a
/// fair sample.  Tasks of equal size share the order, so that a block shows the same originals.
struct TaskExamples {
  std::size_t count = 0;
  std::size_t width = 0;              ///< numbers per example
  std::vector<float> inputs;          ///< [count][width], as the network sees them
  std::vector<std::uint32_t> labels;  ///< [count]
  AlignedVector<float> tiles;         ///< of all inputs (evaluators/diffusion/tiles.hpp)
};

enum class Activation { relu, tanh, silu };

struct ClassifierData {
  std::vector<std::string> layers;
  Activation activation = Activation::relu;
  bool accuracy_objectives = true;
  bool loss_objectives = false;
  struct Task {
    std::string name;
    TaskExamples search;
    std::optional<TaskExamples> heldout;
  };
  std::vector<Task> tasks;
  bool has_heldout = false;
  /// Of all that is above.
  std::string version;
};

/// Problems point below "" (the description); those of a tensor name its file.
Result<ClassifierData> load_classifier_data(const std::string& file);

}  // namespace paretod
