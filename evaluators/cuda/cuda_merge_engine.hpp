#pragma once
// The merge engine (evaluators/merge/merge_engine.hpp) on a GPU.
//
// Sources that fit the memory cap are copied there with the first merge and stay: from then on a
// merge moves only its results off the card.  Others are streamed: tensors (or, for methods that
// need no thresholds, parts of them) go through two halves of the memory, the copy of one half
// under way while the other is merged and its results are fetched.  Copies go through page-locked
// memory, a chunk being filled while the one before it is on its way.
//
// Results are those of the engine on the processor, bit for bit (tensor cores are not used here)
// but for restored norms and the angles of slerp, whose sums over a tensor are in another order.

#include <cstddef>
#include <cstdint>
#include <memory>

#include "evaluators/merge/merge_engine.hpp"
#include "optimizers/core/result.hpp"

namespace paretod::cuda {

/// What a process takes of the device beside sources and results, at most: tables, scratch memory.
/// The driver's own context comes on top.
constexpr std::uint64_t merge_reserved_bytes = std::uint64_t{80} << 20;

struct CudaMergeLimits {
  int device = 0;
  /// Of the device, for sources and results; 0: nine tenths of what is free.
  std::uint64_t memory_bytes = 0;
  /// Candidates of one pass, at most.
  std::size_t candidates = 16;
};

/// Errors: a method that the GPU has not, a device that is not there, a cap that is too small for a
/// tensor.  Merging throws CudaError when the device fails.
Result<std::unique_ptr<MergeEngine>> cuda_merge_engine(std::shared_ptr<const MergeSources> sources,
                                                       const MergeRule& rule,
                                                       const CudaMergeLimits& limits = {});

}  // namespace paretod::cuda
