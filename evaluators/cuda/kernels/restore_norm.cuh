#pragma once
// Rescaling of sparsified differences so that the sum of their magnitudes is what it was
// (mergekit's rescale): sums in double per part of a row, added in order.

#include "evaluators/cuda/kernels/select.cuh"

namespace paretod::cuda {

/// Sum over the block in a fixed order; valid in thread 0.
__device__ __forceinline__ double sum_block(double value, double* scratch) {
  scratch[threadIdx.x] = value;
  __syncthreads();
  for (unsigned half = block_threads / 2; half > 0; half /= 2) {
    if (threadIdx.x < half) scratch[threadIdx.x] += scratch[threadIdx.x + half];
    __syncthreads();
  }
  const double sum = scratch[0];
  __syncthreads();
  return sum;
}

__global__ void __launch_bounds__(block_threads) sum_norms(const NormBatch batch) {
  __shared__ double scratch[block_threads];
  __shared__ ResolvedRow resolved[sparse_width];
  const std::uint32_t at = last_not_above(blockIdx.x, batch.row_count,
                                          [&](std::uint32_t i) { return batch.first_block[i]; });
  const SelectRow row = batch.rows[at];
  if (threadIdx.x < batch.candidates) {
    resolved[threadIdx.x] =
        resolve(batch.sparse[std::size_t{at} * batch.stride + batch.first_candidate + threadIdx.x],
                batch.thresholds);
  }
  __syncthreads();
  double sums[1 + sparse_width] = {};
  const std::uint64_t part = blockIdx.x - batch.first_block[at];
  for (std::uint32_t done = threadIdx.x * 4; done < part_elements; done += tile_elements) {
    const std::uint64_t column = part * part_elements + done;
    const unsigned count = elements_at(column, row.elements);
    if (count == 0) break;
    const Four x = differences(row, column, count);
    const float d[4] = {x.at[0], x.at[1], x.at[2], x.at[3]};
#pragma unroll
    for (unsigned i = 0; i < 4; ++i) sums[0] += i < count ? fabs(static_cast<double>(d[i])) : 0;
#pragma unroll
    for (unsigned p = 0; p < sparse_width; ++p) {
      if (p >= batch.candidates) continue;
      const unsigned kept = kept_of(resolved[p], d, column);
#pragma unroll
      for (unsigned i = 0; i < 4; ++i) {
        if (i < count && (kept >> i & 1) != 0) sums[1 + p] += fabs(static_cast<double>(d[i]));
      }
    }
  }
#pragma unroll
  for (unsigned p = 0; p < 1 + sparse_width; ++p) {
    if (p > batch.candidates) continue;
    const double sum = sum_block(sums[p], scratch);
    if (threadIdx.x == 0) {
      batch.sums[std::size_t{blockIdx.x} * (1 + sparse_width) + p] = sum;
    }
  }
}

/// A block for each row.
__global__ void __launch_bounds__(block_threads) restore_norms(const NormBatch batch) {
  __shared__ double scratch[block_threads];
  constexpr double least = 1e-7;  // mergekit's
  const std::uint64_t first = batch.first_block[blockIdx.x];
  const std::uint64_t end = batch.first_block[blockIdx.x + 1];
  double before = 0;
  for (unsigned p = 0; p < 1 + sparse_width; ++p) {
    if (p > batch.candidates) continue;
    double mine = 0;
    for (std::uint64_t block = first + threadIdx.x; block < end; block += block_threads) {
      mine += batch.sums[block * (1 + sparse_width) + p];
    }
    const double sum = sum_block(mine, scratch);
    if (p == 0) {
      before = sum;
    } else if (threadIdx.x == 0 && before >= least && sum >= least) {
      float& scale =
          batch.sparse[std::size_t{blockIdx.x} * batch.stride + batch.first_candidate + p - 1]
              .scale;
      scale = static_cast<float>(static_cast<double>(scale) * (before / sum));
    }
  }
}

}  // namespace paretod::cuda
