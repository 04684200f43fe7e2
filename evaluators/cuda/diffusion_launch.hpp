#pragma once
// Launches of the kernels of kernels/denoise.cuh for a batch: `candidates` of them, of at most
// `rows` samples each.  All work goes to the stream.

#include "evaluators/cuda/device.hpp"
#include "evaluators/cuda/diffusion_tables.hpp"

namespace paretod::cuda {

struct BatchSize {
  std::uint32_t candidates = 0;
  std::uint32_t rows = 0;
};

void launch_linear(Apply apply, const LinearTable& table, const BatchSize& size,
                   cudaStream_t stream);
void launch_normalize(const NormalizeTable& table, const BatchSize& size, cudaStream_t stream);
void launch_conditions(const ConditionTable& table, const BatchSize& size, std::uint32_t steps,
                       cudaStream_t stream);
void launch_start(const StartTable& table, const BatchSize& size, cudaStream_t stream);
void launch_advance(const AdvanceTable& table, const BatchSize& size, cudaStream_t stream);
void launch_complete_features(const PixelTable& table, const BatchSize& size, cudaStream_t stream);
void launch_moments(const MomentTable& table, const BatchSize& size, cudaStream_t stream);
void launch_influences(const InfluenceTable& table, const BatchSize& size, cudaStream_t stream);

}  // namespace paretod::cuda
