#pragma once
// Which elements of x - b, the difference of a source and the base, are the `count` of largest
// magnitude: exactly so many, of equal magnitudes the first in the tensor.  Magnitudes compare as
// the bits of |x - b|, so NaN is the largest.
//
// Small tensors are sorted; of large ones histograms are taken, first of the upper 16 bits of all
// elements, then of the lower 15 of those in the buckets that matter, then the place of the last
// equal one is looked for: two or three passes over the tensor, in memory that does not depend on
// its size.

#include <cstdint>
#include <span>
#include <vector>

#include "evaluators/merge/merge_kernels.hpp"
#include "evaluators/merge/tensor_pass.hpp"

namespace paretod {

/// Elements whose magnitude bits are greater than `bits`, and those of equal bits whose index is
/// less than `cut`.
struct LargestElements {
  std::int32_t bits = 0x7FFFFFFF;
  std::uint64_t cut = 0;

  static LargestElements none() { return {}; }
  static LargestElements all() { return {-1, 0}; }
  friend bool operator==(const LargestElements&, const LargestElements&) = default;
};

/// Elements in a unit of a pass, and at a time.
inline constexpr std::size_t pass_unit = 65'536;
inline constexpr std::size_t pass_chunk = 4'096;
/// Bytes that a call of largest_elements() allocates at most, for so many threads and counts.
std::uint64_t largest_elements_memory(std::size_t threads, std::size_t counts);

/// One answer per count, each at most the number of elements.
std::vector<LargestElements> largest_elements(const MergeKernels& kernels, const PassLimits& limits,
                                              const TensorView& source, const TensorView& base,
                                              std::span<const std::uint64_t> counts);

}  // namespace paretod
