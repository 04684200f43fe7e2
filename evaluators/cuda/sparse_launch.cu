#include <algorithm>

#include "evaluators/cuda/kernels/resident.cuh"
#include "evaluators/cuda/kernels/restore_norm.cuh"
#include "evaluators/cuda/kernels/row_products.cuh"
#include "evaluators/cuda/merge_launch.hpp"

namespace paretod::cuda {
namespace {

template <class Source, class Sum>
void sparse_source(const DeviceLimits& limits, const SparseBatch& batch, cudaStream_t stream) {
  const bool single = batch.combine.candidates == 1;
  const auto kernel =
      single ? combine_sparse<Source, Sum, 1> : combine_sparse<Source, Sum, sparse_width>;
  const std::size_t bytes =
      row_table_bytes(batch.combine.sources) +
      batch.combine.sources * (single ? 1 : sparse_width) * sizeof(ResolvedRow);
  allow_shared(kernel, shared_budget(limits));
  launch(kernel,
         {{resident_blocks(limits, kernel, bytes, batch.combine.tiles)}, {block_threads}, bytes},
         stream, batch);
}

template <class Source>
void sparse_source(const DeviceLimits& limits, const SparseBatch& batch, cudaStream_t stream) {
  if (batch.elect) {
    sparse_source<Source, ElectedSum>(limits, batch, stream);
  } else {
    sparse_source<Source, PlainSum>(limits, batch, stream);
  }
}

}  // namespace

std::size_t most_sparse_sources(const DeviceLimits& limits) {
  return shared_budget(limits) / (sizeof(void*) + sparse_width * sizeof(ResolvedRow)) - 2;
}

void launch_combine_sparse(const DeviceLimits& limits, Stored source, const SparseBatch& batch,
                           cudaStream_t stream) {
  if (batch.combine.tiles == 0 || batch.combine.candidates == 0) return;
  switch (source) {
    case Stored::f16:
      return sparse_source<Half>(limits, batch, stream);
    case Stored::bf16:
      return sparse_source<Bfloat>(limits, batch, stream);
    default:
      return sparse_source<float>(limits, batch, stream);
  }
}

void launch_select(const SelectLaunch& select, cudaStream_t stream) {
  const SelectBatch& all = select.all;
  if (all.question_count == 0) return;
  const LaunchShape whole{{select.all_blocks}, {block_threads}};
  const LaunchShape questions{{all.question_count}, {block_threads}};
  for (unsigned stage = 0; stage < 3; ++stage) {
    check(cudaMemsetAsync(all.histograms, 0,
                          std::size_t{all.question_count} * digit_buckets * sizeof(std::uint32_t),
                          stream),
          "clearing histograms");
    if (stage == 0) {
      launch(select_histogram, {{select.first_blocks}, {block_threads}}, stream, select.first,
             stage);
    } else {
      launch(select_histogram, whole, stream, all, stage);
    }
    launch(select_digit, questions, stream, all, stage);
  }
  if (!all.keep_ties) launch(select_ties, whole, stream, all);
  launch(select_finish, questions, stream, all);
}

void launch_multiply_rows(const ProductBatch& batch, std::uint32_t blocks, cudaStream_t stream) {
  if (blocks == 0) return;
  launch(multiply_rows, {{blocks}, {block_threads}}, stream, batch);
}

void launch_restore_norms(const NormBatch& batch, std::uint32_t blocks, cudaStream_t stream) {
  if (blocks == 0) return;
  launch(sum_norms, {{blocks}, {block_threads}}, stream, batch);
  launch(restore_norms, {{batch.row_count}, {block_threads}}, stream, batch);
}

}  // namespace paretod::cuda
