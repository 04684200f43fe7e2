#include "evaluators/cuda/diffusion_launch.hpp"

#include "evaluators/cuda/kernels/denoise.cuh"

namespace paretod::cuda {
namespace {

unsigned blocks_for(std::uint64_t items, unsigned per_block) {
  return static_cast<unsigned>((items + per_block - 1) / per_block);
}

/// A thread for each of `items` numbers of each candidate.
LaunchShape each(std::uint64_t items, const BatchSize& size, std::size_t shared_bytes = 0) {
  return {{blocks_for(items, denoise_threads), size.candidates}, {denoise_threads}, shared_bytes};
}

/// A warp for each row of each candidate.
LaunchShape each_row(const BatchSize& size, std::size_t shared_bytes = 0) {
  return {{blocks_for(size.rows, denoise_threads / 32), size.candidates},
          {denoise_threads},
          shared_bytes};
}

}  // namespace

void launch_linear(Apply apply, const LinearTable& table, const BatchSize& size,
                   cudaStream_t stream) {
  const LaunchShape shape{
      {blocks_for(size.rows, linear_tile), blocks_for(table.outputs, linear_tile), size.candidates},
      {denoise_threads}};
  switch (apply) {
    case Apply::store:
      return launch(linear<Apply::store>, shape, stream, table);
    case Apply::add:
      return launch(linear<Apply::add>, shape, stream, table);
    case Apply::silu:
      return launch(linear<Apply::silu>, shape, stream, table);
    case Apply::tanh:
      return launch(linear<Apply::tanh>, shape, stream, table);
  }
}

void launch_normalize(const NormalizeTable& table, const BatchSize& size, cudaStream_t stream) {
  launch(normalize, each_row(size), stream, table);
}

void launch_conditions(const ConditionTable& table, const BatchSize& size, std::uint32_t steps,
                       cudaStream_t stream) {
  const std::size_t bytes = 2 * table.width * sizeof(double);
  allow_shared(conditions, bytes);
  launch(conditions, {{steps, size.candidates}, {denoise_threads}, bytes}, stream, table);
}

void launch_start(const StartTable& table, const BatchSize& size, cudaStream_t stream) {
  launch(start, each(std::uint64_t{size.rows} * table.pixels, size), stream, table);
}

void launch_advance(const AdvanceTable& table, const BatchSize& size, cudaStream_t stream) {
  launch(advance, each(std::uint64_t{size.rows} * table.pixels, size), stream, table);
}

void launch_complete_features(const PixelTable& table, const BatchSize& size, cudaStream_t stream) {
  launch(complete_features, each(std::uint64_t{size.rows} * (table.pixels + 1), size), stream,
         table);
}

void launch_moments(const MomentTable& table, const BatchSize& size, cudaStream_t stream) {
  const unsigned tiles = blocks_for(table.columns, moment_tile);
  launch(sum_products, {{tiles * tiles, table.chunks, size.candidates}, {denoise_threads}}, stream,
         table);
  launch(add_products, each(std::uint64_t{table.columns} * table.columns, size), stream, table);
}

void launch_influences(const InfluenceTable& table, const BatchSize& size, cudaStream_t stream) {
  const std::size_t bytes = denoise_threads / 32 * table.dimension * sizeof(float);
  allow_shared(influences, bytes);
  launch(influences, each_row(size, bytes), stream, table);
}

}  // namespace paretod::cuda
