#include "evaluators/cuda/merge_launch.hpp"

#include <algorithm>

#include "evaluators/cuda/kernels/combine_matrix.cuh"
#include "evaluators/cuda/kernels/restore_norm.cuh"

namespace paretod::cuda {
namespace {

/// Shared memory of a block: two of them have to fit in a multiprocessor.
std::size_t shared_budget(const DeviceLimits& limits) {
  return std::min<std::size_t>(limits.shared_bytes, 96 * 1024);
}

/// As many blocks as run at once, at most one per tile.
template <class Kernel>
unsigned resident_blocks(const DeviceLimits& limits, Kernel* kernel, std::size_t shared_bytes,
                         std::uint64_t tiles) {
  int blocks = 0;
  check(cudaOccupancyMaxActiveBlocksPerMultiprocessor(
            &blocks, kernel, static_cast<int>(block_threads), shared_bytes),
        "asking how many blocks fit");
  const std::uint64_t resident =
      std::uint64_t{limits.multiprocessors} * static_cast<unsigned>(std::max(blocks, 1));
  return static_cast<unsigned>(std::min(resident, tiles));
}

/// `depth`: weights of so many sources are loaded together.
template <class Batch>
void launch_plain(const DeviceLimits& limits, void (*kernel)(CombineBatch), Batch batch,
                  std::size_t pitch, std::size_t depth, cudaStream_t stream) {
  const auto padded = [depth](std::size_t k) { return (k + depth - 1) / depth * depth; };
  const std::size_t table = row_table_bytes(batch.sources);
  const std::size_t room = (shared_budget(limits) - table) / (pitch * sizeof(float));
  std::size_t chunk = batch.sources;
  if (padded(chunk) > room) chunk = room / depth * depth;
  batch.chunk = static_cast<std::uint32_t>(chunk);
  const std::size_t bytes = table + padded(chunk) * pitch * sizeof(float);
  allow_shared(kernel, bytes);
  launch(kernel, {{resident_blocks(limits, kernel, bytes, batch.tiles)}, {block_threads}, bytes},
         stream, batch);
}

template <class Source>
void combine_source(const DeviceLimits& limits, CombinePath path, const CombineBatch& batch,
                    cudaStream_t stream) {
  const bool matrix = path == CombinePath::tensor_cores ||
                      (path == CombinePath::automatic && batch.candidates > 16);
  if (matrix && batch.candidates > 32) {
    return launch_plain(limits, combine_matrix<Source, 4>, batch, 64 + matrix_padding, matrix_depth,
                        stream);
  }
  if (matrix) {
    return launch_plain(limits, combine_matrix<Source, 2>, batch, 32 + matrix_padding, matrix_depth,
                        stream);
  }
  if (batch.candidates > 4) {
    return launch_plain(limits, combine<Source, 16>, batch, 16, 1, stream);
  }
  if (batch.candidates > 1) {
    return launch_plain(limits, combine<Source, 4>, batch, 4, 1, stream);
  }
  launch_plain(limits, combine<Source, 1>, batch, 1, 1, stream);
}

template <class Source, class Sum>
void sparse_source(const DeviceLimits& limits, const SparseBatch& batch, cudaStream_t stream) {
  const bool single = batch.combine.candidates == 1;
  const auto kernel =
      single ? combine_sparse<Source, Sum, 1> : combine_sparse<Source, Sum, sparse_width>;
  const std::size_t bytes =
      row_table_bytes(batch.combine.sources) +
      batch.combine.sources * (single ? 1 : sparse_width) * sizeof(ResolvedRow);
  allow_shared(kernel, bytes);
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

std::size_t plain_candidates(std::size_t left, CombinePath path) {
  const std::size_t most = path == CombinePath::ordinary ? 16 : most_plain_candidates;
  return std::min(left, most);
}

void launch_combine(const DeviceLimits& limits, Stored source, CombinePath path, CombineBatch batch,
                    cudaStream_t stream) {
  if (batch.tiles == 0 || batch.candidates == 0) return;
  switch (source) {
    case Stored::f16:
      return combine_source<Half>(limits, path, batch, stream);
    case Stored::bf16:
      return combine_source<Bfloat>(limits, path, batch, stream);
    default:
      return combine_source<float>(limits, path, batch, stream);
  }
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

void launch_restore_norms(const NormBatch& batch, std::uint32_t blocks, cudaStream_t stream) {
  if (blocks == 0) return;
  launch(sum_norms, {{blocks}, {block_threads}}, stream, batch);
  launch(restore_norms, {{batch.row_count}, {block_threads}}, stream, batch);
}

}  // namespace paretod::cuda
