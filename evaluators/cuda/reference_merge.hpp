#pragma once
// Merging spelt out, element by element and without a thought for speed: what kernels are checked
// against.  Pure functions.

#include <cstdint>
#include <vector>

#include "evaluators/cuda/merge_plan.hpp"

namespace paretod::cuda {

/// A tensor as floats.
struct ReferenceTensor {
  std::size_t group = 0;
  std::uint64_t name_hash = 0;
  std::uint64_t first_element = 0;
  std::vector<float> base;  ///< empty: none
  std::vector<std::vector<float>> sources;
  std::vector<std::vector<float>> importances = {};  ///< fisher
};

/// What one candidate makes of it, in the operations and the order of the kernels; `exact` the same
/// in double, with the same elements kept and the same signs elected; `magnitude` the sum of the
/// magnitudes that were added.
struct ReferenceResult {
  std::vector<float> merged;
  std::vector<double> exact;
  std::vector<double> magnitude;
};
ReferenceResult reference_merge(const MergeRule& rule, const PlanOptions& options,
                                const ReferenceTensor& tensor, const MergeCandidate& candidate);

/// To the stored form and back; from tables of all 65,536 numbers, not by the kernels' conversions.
float reference_rounded(Stored type, float value);
std::vector<std::uint8_t> reference_stored(Stored type, const std::vector<float>& values);

}  // namespace paretod::cuda
