#pragma once
// A planted pool of LoRA adapters to merge (Evo-Merging, arXiv 2509.12951), for which it is known
// who is of use.  The model is multinomial logistic regression in two linear modules; tasks are
// sums of skills, each of rank one, reading few inputs and living in one direction of the adapters'
// factors.  What makes real merges hard is there: cross terms between adapters that use the same
// direction, small noisy entries of A (part of them common to all, as of one random start), skills
// that no target needs and several adapters share, so that one can be subtracted with another.
//   informative   one or two skills of the target, and half of one that it does not need
//   harmful       the opposite of a skill of the target, and half of another
//   useless       one and a half skills that the target does not need
// Immutable; any thread.

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "evaluators/llm/lora_merge.hpp"

namespace paretod {

class EvoPool {
 public:
  static constexpr std::size_t inputs = 40, classes = 8, rank = 8, modules = 2;
  static constexpr std::size_t most_adapters = 500;
  /// Target tasks; they share half of their skills.
  static constexpr std::size_t tasks = 2;

  enum class Kind { informative, harmful, useless };
  /// Search, select and report: disjoint sets of examples in a fixed order.
  static constexpr std::size_t splits = 3;
  static constexpr std::size_t split_sizes[splits] = {300, 300, 1000};

  /// Requires 1 <= adapters <= most_adapters and informative + harmful <= adapters.  Takes a
  /// hundredth of a second.
  EvoPool(std::size_t adapters, std::size_t informative, std::size_t harmful, std::uint64_t seed);

  [[nodiscard]] std::size_t adapters() const { return kinds_.size(); }
  [[nodiscard]] Kind kind(std::size_t adapter) const { return kinds_[adapter]; }
  [[nodiscard]] const std::vector<LoraAdapter>& pool() const { return pool_; }

  /// Cross-entropy of the merge on as many examples of a split as `losses` holds, from the first
  /// on, wrapping around.
  void losses(std::span<const MergeTerm> terms, bool factor_space, std::size_t task,
              std::size_t split, std::size_t first, std::span<float> losses) const;
  /// Means over a whole split: of the model without adapters, and of the one that labelled the
  /// examples.
  [[nodiscard]] double base_loss(std::size_t task, std::size_t split) const;
  [[nodiscard]] double true_loss(std::size_t task, std::size_t split) const;

 private:
  struct Examples {
    std::vector<float> x;       ///< per example, modules * inputs
    std::vector<float> logits;  ///< per example, of the model without adapters
    std::vector<std::uint8_t> labels[tasks];
    double base_loss[tasks] = {};
    double true_loss[tasks] = {};
  };

  std::vector<Kind> kinds_;
  std::vector<LoraAdapter> pool_;
  /// Per adapter and module: magnitudes of A, largest first.
  std::vector<std::vector<float>> magnitudes_;
  Examples examples_[splits];
};

}  // namespace paretod
