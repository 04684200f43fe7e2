#include "evaluators/cuda/merge_launch.hpp"

#include <algorithm>

#include "evaluators/cuda/kernels/combine_fisher.cuh"
#include "evaluators/cuda/kernels/combine_matrix.cuh"
#include "evaluators/cuda/kernels/resident.cuh"

namespace paretod::cuda {
namespace {

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
  allow_shared(kernel, shared_budget(limits));
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

template <class Source>
void fisher_source(const DeviceLimits& limits, const FisherBatch& batch, cudaStream_t stream) {
  const auto kernel = combine_fisher<Source>;
  const std::size_t sources = batch.combine.sources;
  const std::size_t bytes = row_table_bytes(static_cast<std::uint32_t>(2 * sources)) +
                            sources * fisher_width * sizeof(float);
  allow_shared(kernel, shared_budget(limits));
  launch(kernel,
         {{resident_blocks(limits, kernel, bytes, batch.combine.tiles)}, {block_threads}, bytes},
         stream, batch);
}

}  // namespace

std::size_t most_fisher_sources(const DeviceLimits& limits) {
  return shared_budget(limits) / (2 * sizeof(void*) + fisher_width * sizeof(float)) - 2;
}

void launch_combine_fisher(const DeviceLimits& limits, Stored source, const FisherBatch& batch,
                           cudaStream_t stream) {
  if (batch.combine.tiles == 0 || batch.combine.candidates == 0) return;
  switch (source) {
    case Stored::f16:
      return fisher_source<Half>(limits, batch, stream);
    case Stored::bf16:
      return fisher_source<Bfloat>(limits, batch, stream);
    default:
      return fisher_source<float>(limits, batch, stream);
  }
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

}  // namespace paretod::cuda
