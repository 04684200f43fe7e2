#pragma once
// out = sum over k of w_k f_k x_k / sum over k of w_k f_k per element, f_k the importances of
// source k; where those sum to zero, sum over k of w_k x_k.  In the operations and the order of the
// engine on the processor (block_merger.cpp there), so that both give the same bits.
//
// Two rows are read for each source, (2 K + P) s bytes per element, against 3 K P operations: bound
// by memory at the four candidates of a pass.

#include "evaluators/cuda/kernels/combine.cuh"

namespace paretod::cuda {

template <class Source>
__global__ void __launch_bounds__(block_threads, 2) combine_fisher(const FisherBatch fisher) {
  constexpr unsigned width = fisher_width;
  const CombineBatch& batch = fisher.combine;
  auto* rows = reinterpret_cast<const void**>(dynamic_shared());
  auto* weights = reinterpret_cast<float*>(dynamic_shared() + row_table_bytes(2 * batch.sources));
  const TileRange range = share_of(batch.tiles, blockIdx.x, gridDim.x);
  std::uint32_t at = last_not_above(range.first, batch.tensor_count,
                                    [&](std::uint32_t i) { return batch.tensors[i].first_tile; });
  std::uint32_t rows_of = 0xFFFFFFFF;
  for (std::uint64_t tile = range.first; tile < range.end; ++tile) {
    while (tile >= batch.tensors[at + 1].first_tile) ++at;
    const CombineTensor tensor = batch.tensors[at];
    if (rows_of != at) {
      __syncthreads();
      for (std::uint32_t i = threadIdx.x; i < 2 * batch.sources; i += block_threads) {
        rows[i] = batch.rows[tensor.first_row + i];
      }
      const float* from = batch.weights + std::size_t{tensor.group} * batch.sources * batch.stride +
                          batch.first_candidate;
      for (std::uint32_t i = threadIdx.x; i < batch.sources * width; i += block_threads) {
        weights[i] = from[std::size_t{i / width} * batch.stride + i % width];
      }
      rows_of = at;
      __syncthreads();
    }
    const std::uint64_t column = (tile - tensor.first_tile) * tile_elements + threadIdx.x * 4;
    const unsigned count = elements_at(column, tensor.elements);
    if (count == 0) continue;
    const Stored importance_type = fisher.importance_types[fisher.first_tensor + at];
    float sums[width][4] = {};
    float divisors[width][4] = {};
    float fallbacks[width][4] = {};
    bool wrong = false;
    for (std::uint32_t k = 0; k < batch.sources; ++k) {
      const Four x = load(static_cast<const Source*>(rows[k]), column, count, tensor.aligned);
      const Four f = load(importance_type, rows[batch.sources + k], column, count, tensor.aligned);
#pragma unroll
      for (unsigned i = 0; i < 4; ++i) {
        wrong = wrong || (i < count && !(f.at[i] >= 0));
        const float product = f.at[i] * x.at[i];
#pragma unroll
        for (unsigned p = 0; p < width; ++p) {
          const float weight = weights[k * width + p];
          sums[p][i] = fmaf(weight, product, sums[p][i]);
          divisors[p][i] = fmaf(weight, f.at[i], divisors[p][i]);
          fallbacks[p][i] = fmaf(weight, x.at[i], fallbacks[p][i]);
        }
      }
    }
    if (wrong) atomicOr(&fisher.wrong[fisher.first_tensor + at], 1U);
#pragma unroll
    for (unsigned p = 0; p < width; ++p) {
      if (p >= batch.candidates) continue;
      Four out;
#pragma unroll
      for (unsigned i = 0; i < 4; ++i) {
        out.at[i] = divisors[p][i] == 0 ? fallbacks[p][i] : sums[p][i] / divisors[p][i];
      }
      finish(batch, tensor, p, column, count, {}, out);
    }
  }
}

}  // namespace paretod::cuda
