#pragma once
// What has to be known of whole tensors before a block of them can be merged: the angle between
// two models, thresholds for densities, what sparsifying does to a norm.  Sums are doubles, taken
// per unit of fixed size and added in order.
//
// Remembers what does not depend on a candidate's numbers, so that a search over weights alone
// takes thresholds once.  Used by one thread, which it makes several of.

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <span>
#include <tuple>
#include <vector>

#include "evaluators/merge/block_merger.hpp"
#include "evaluators/merge/largest_elements.hpp"
#include "evaluators/merge/merge_factors.hpp"
#include "evaluators/merge/merge_sources.hpp"
#include "evaluators/merge/tensor_pass.hpp"

namespace paretod {

class TensorStatistics {
 public:
  /// Counts that one pass over a tensor answers, as far as memory goes.
  TensorStatistics(const MergeKernels& kernels, const MergeRule& rule, const MergeSources& sources,
                   const PassLimits& limits, std::size_t counts_per_pass);

  /// One per tensor from `first` on.  `workers`: one per thread, for this number of candidates.
  std::vector<TensorFactors> factors(std::size_t first, std::size_t count,
                                     std::span<const MergeCandidate> candidates,
                                     std::span<const std::unique_ptr<BlockMerger>> workers);

 private:
  using Key = std::tuple<std::size_t, std::size_t, std::uint64_t>;  // tensor, source, count

  void find_largest(std::size_t first, std::size_t count,
                    std::span<const MergeCandidate> candidates);
  [[nodiscard]] LargestElements largest(std::size_t tensor, std::size_t source,
                                        std::uint64_t count) const;
  /// Sums of products: first with itself, second with itself, first with second.
  const std::array<double, 3>& products(std::size_t tensor);
  void slerp(std::size_t tensor, std::span<const MergeCandidate> candidates,
             TensorFactors& factors);
  void weigh(const GroupCoefficients& group, TensorFactors& factors) const;
  void sparsify(std::size_t tensor, const GroupCoefficients& group, TensorFactors& factors) const;
  void restore_norms(std::size_t tensor, TensorFactors& factors,
                     std::span<const std::unique_ptr<BlockMerger>> workers) const;

  const MergeKernels& kernels_;
  const MergeRule rule_;
  const MergeTraits traits_;
  const MergeSources& sources_;
  const PassLimits limits_;
  const std::size_t counts_per_pass_;
  std::vector<std::uint64_t> name_hashes_;
  std::map<Key, LargestElements> largest_;
  std::map<std::size_t, std::array<double, 3>> products_;
};

}  // namespace paretod
