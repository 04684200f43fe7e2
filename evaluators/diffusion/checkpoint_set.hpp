#pragma once
// The sources of a merge: K checkpoints of one network, loaded once and kept as they were stored
// (float16, or float32 for any other dtype), in the blocks of simd.hpp, so that a batch of
// candidates reads every source once.
// Immutable after loading; any thread.

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "evaluators/diffusion/aligned.hpp"
#include "evaluators/diffusion/denoiser.hpp"
#include "evaluators/diffusion/simd.hpp"
#include "optimizers/core/result.hpp"

namespace paretod {

class CheckpointSet {
 public:
  /// Every file must have exactly the tensors of `layout`, with these shapes, finite, and in the
  /// dtypes of the first file (F16, BF16 or F32); errors name the file, the tensor and what
  /// differs.  `reference` is the source that the affine form measures from.
  static Result<CheckpointSet> load(const std::vector<std::string>& paths,
                                    const std::vector<TensorSpec>& layout, std::size_t reference);

  [[nodiscard]] std::size_t sources() const { return sources_; }
  /// Parameters of the network.
  [[nodiscard]] std::size_t parameters() const { return parameters_; }
  /// Floats from one merged candidate to the next: parameters() rounded up to whole blocks.
  [[nodiscard]] std::size_t stride() const { return blocks() * merge_columns; }
  [[nodiscard]] std::size_t blocks() const {
    return (parameters_ + merge_columns - 1) / merge_columns;
  }
  [[nodiscard]] std::size_t bytes() const {
    return halves_.size() * sizeof(std::uint16_t) + floats_.size() * sizeof(float);
  }

  /// Block `block` of merged parameters for all candidates: coefficients [candidates][sources] that
  /// sum to one, out [candidates][stride()], of which this block's columns are written.  The
  /// result does not depend on how many candidates are merged together.
  void merge_block(const SimdKernels& kernels, std::size_t block, const float* coefficients,
                   std::size_t candidates, float* out) const;

 private:
  std::size_t sources_ = 0;
  std::size_t parameters_ = 0;
  std::size_t reference_ = 0;
  // Exactly one is filled: [blocks][merge_columns / merge_strip][sources][merge_strip].
  AlignedVector<std::uint16_t> halves_;
  AlignedVector<float> floats_;
};

}  // namespace paretod
