#pragma once
// Products of a tensor's two sources, for the angle between them (slerp): sums in double per part
// of the rows, which the host adds in order.

#include "evaluators/cuda/kernels/restore_norm.cuh"

namespace paretod::cuda {

__global__ void __launch_bounds__(block_threads) multiply_rows(const ProductBatch batch) {
  __shared__ double scratch[block_threads];
  const std::uint32_t at = last_not_above(
      blockIdx.x, batch.tensors, [&](std::uint32_t i) { return batch.first_block[2 * i] / 2; });
  const SelectRow first = batch.rows[2 * at];
  const SelectRow second = batch.rows[2 * at + 1];
  double sums[3] = {};
  const std::uint64_t part = blockIdx.x - batch.first_block[2 * at] / 2;
  for (std::uint32_t done = threadIdx.x * 4; done < part_elements; done += tile_elements) {
    const std::uint64_t column = part * part_elements + done;
    const unsigned count = elements_at(column, first.elements);
    if (count == 0) break;
    const Four x = differences(first, column, count);
    const Four y = differences(second, column, count);
#pragma unroll
    for (unsigned i = 0; i < 4; ++i) {
      const double a = static_cast<double>(x.at[i]);
      const double b = static_cast<double>(y.at[i]);
      sums[0] = fma(a, a, sums[0]);
      sums[1] = fma(b, b, sums[1]);
      sums[2] = fma(a, b, sums[2]);
    }
  }
#pragma unroll
  for (unsigned i = 0; i < 3; ++i) {
    const double sum = sum_block(sums[i], scratch);
    if (threadIdx.x == 0) batch.sums[std::size_t{blockIdx.x} * 3 + i] = sum;
  }
}

}  // namespace paretod::cuda
