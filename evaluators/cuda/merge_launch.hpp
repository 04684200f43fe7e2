#pragma once
// Launches of the merge kernels (kernels/*.cuh): shapes and template arguments.  All work goes to
// the stream; pointers are to device memory.  CudaError when a launch is refused.

#include <cstddef>

#include "evaluators/cuda/device.hpp"
#include "evaluators/cuda/merge_tables.hpp"

namespace paretod::cuda {

/// Which units combine; `automatic`: tensor cores beyond 16 candidates.
enum class CombinePath { automatic, ordinary, tensor_cores };

/// Candidates that one pass over the sources can take.
inline constexpr std::size_t most_plain_candidates = 64;
/// Sources whose rows a block can hold; more are refused before a launch.
std::size_t most_sparse_sources(const DeviceLimits& limits);
inline constexpr std::size_t most_plain_sources = 4096;
std::size_t most_fisher_sources(const DeviceLimits& limits);

/// Candidates of the next pass when so many are left.
std::size_t plain_candidates(std::size_t left, CombinePath path);

/// All tensors of the batch are stored as `source`; batch.candidates is at most
/// plain_candidates(); batch.chunk is chosen here.
void launch_combine(const DeviceLimits& limits, Stored source, CombinePath path, CombineBatch batch,
                    cudaStream_t stream);
/// batch.combine.candidates is at most sparse_width.
void launch_combine_sparse(const DeviceLimits& limits, Stored source, const SparseBatch& batch,
                           cudaStream_t stream);

/// batch.combine.candidates is at most fisher_width.
void launch_combine_fisher(const DeviceLimits& limits, Stored source, const FisherBatch& batch,
                           cudaStream_t stream);

/// What a selection's tables and scratch memory need.
struct SelectLaunch {
  SelectBatch first;  ///< groups of one question per row, whose histograms it shares
  SelectBatch all;
  std::uint32_t first_blocks = 0;
  std::uint32_t all_blocks = 0;
};
/// Clears the histograms and answers the questions.
void launch_select(const SelectLaunch& select, cudaStream_t stream);

/// Products of two sources; `blocks` parts of all tensors.
void launch_multiply_rows(const ProductBatch& batch, std::uint32_t blocks, cudaStream_t stream);

/// Rescales; `blocks` parts of all rows.
void launch_restore_norms(const NormBatch& batch, std::uint32_t blocks, cudaStream_t stream);

}  // namespace paretod::cuda
