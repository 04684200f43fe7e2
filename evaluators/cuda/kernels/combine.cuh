#pragma once
// out[p] = (base +) factor[p] sum over k of weight[p][k] (source[k] (- base)), for all tensors of a
// model and P candidates in one pass over the K sources.
//
// Two kernels.  `combine` multiplies and adds one source after the other, with one rounding each,
// exactly as the engine on the processor does (evaluators/merge/merge_kernels.hpp), so that both
// give the same bits.  `combine_matrix` uses tensor cores where P is so large that the ordinary
// units would be the limit.
//
// Bytes and operations per element, at 4 bytes a number: (K + P) 4 bytes against 2 K P operations.
//   K = 50, P = 16    264 B, 1,600 flop: 79 ps at 3.35 TB/s, 24 ps at the 67 TFLOP/s of an H100
//                     with ordinary units: `combine` is bound by memory.
//   K = 200, P = 64   1,056 B, 25,600 flop: 315 ps against 382 ps: ordinary units would be the
//   limit.
//                     In tf32 with three products per number 155 ps at 495 TFLOP/s; `mma.sync`
//                     reaches perhaps 60 % of that, 260 ps.
// Latency: to keep 3.35 TB/s busy for 700 ns takes 2.3 MB on the way, 18 KB per multiprocessor.
// `combine` with 16 candidates needs about 110 registers: 512 threads per multiprocessor, each with
// 4 loads of 16 (8 at two bytes a number) bytes on the way: 32 (16) KB.

#include "evaluators/cuda/kernels/tiles.cuh"

namespace paretod::cuda {

/// Row pointers lie before the weights, which are aligned to 16 bytes.
__host__ __device__ inline std::size_t row_table_bytes(std::uint32_t sources) {
  return (sources * sizeof(void*) + 15) / 16 * 16;
}

/// What a block holds in shared memory: rows of the tensor, weights of its group.
template <class Source>
struct CombineShared {
  const Source** rows;
  float* weights;

  __device__ CombineShared(std::uint32_t sources)
      : rows(reinterpret_cast<const Source**>(dynamic_shared())),
        weights(reinterpret_cast<float*>(dynamic_shared() + row_table_bytes(sources))) {}

  __device__ void load_rows(const CombineBatch& batch, const CombineTensor& tensor) const {
    for (std::uint32_t k = threadIdx.x; k < batch.sources; k += block_threads) {
      rows[k] = static_cast<const Source*>(batch.rows[tensor.first_row + k]);
    }
  }
  /// Weights [k - first][width] of `width` candidates from first_candidate on, zero behind the last
  /// source: rows are `pitch` apart and `padded` of them are written.
  __device__ void load_weights(const CombineBatch& batch, std::uint32_t group, std::uint32_t first,
                               std::uint32_t padded, std::uint32_t width,
                               std::uint32_t pitch) const {
    const float* from =
        batch.weights + std::size_t{group} * batch.sources * batch.stride + batch.first_candidate;
    for (std::uint32_t i = threadIdx.x; i < padded * width; i += block_threads) {
      const std::uint32_t k = i / width;
      const std::uint32_t p = i % width;
      weights[k * pitch + p] =
          first + k < batch.sources ? from[std::size_t{first + k} * batch.stride + p] : 0.0F;
    }
  }
};

/// Writes one candidate's four elements: base + factor sum where there is a base.
__device__ __forceinline__ void finish(const CombineBatch& batch, const CombineTensor& tensor,
                                       std::uint32_t p, std::uint64_t column, unsigned count,
                                       const Four& base, Four sum) {
  if (tensor.base != nullptr) {
    const float factor =
        batch.factors[std::size_t{tensor.group} * batch.stride + batch.first_candidate + p];
    for (unsigned i = 0; i < 4; ++i) sum.at[i] = fmaf(factor, sum.at[i], base.at[i]);
  }
  store(tensor.output_type, batch.outputs[tensor.first_out + batch.first_candidate + p], column,
        count, tensor.aligned, sum);
}

template <class Source, unsigned width>
__device__ __forceinline__ void accumulate(const float* weights, const Four& x, const Four& base,
                                           bool subtract, float (&sums)[width][4]) {
  float d[4];
#pragma unroll
  for (unsigned i = 0; i < 4; ++i) d[i] = subtract ? x.at[i] - base.at[i] : x.at[i];
#pragma unroll
  for (unsigned p = 0; p < width; ++p) {
    const float weight = weights[p];
#pragma unroll
    for (unsigned i = 0; i < 4; ++i) sums[p][i] = fmaf(weight, d[i], sums[p][i]);
  }
}

template <class Source, unsigned width>
__global__ void __launch_bounds__(block_threads, 2) combine(const CombineBatch batch) {
  const CombineShared<Source> shared(batch.sources);
  const TileRange range = share_of(batch.tiles, blockIdx.x, gridDim.x);
  std::uint32_t at = last_not_above(range.first, batch.tensor_count,
                                    [&](std::uint32_t i) { return batch.tensors[i].first_tile; });
  constexpr std::uint32_t nothing = 0xFFFFFFFF;
  std::uint32_t rows_of = nothing;
  std::uint32_t weights_of = nothing;
  for (std::uint64_t tile = range.first; tile < range.end; ++tile) {
    while (tile >= batch.tensors[at + 1].first_tile) ++at;
    const CombineTensor tensor = batch.tensors[at];
    const bool all_weights = batch.chunk >= batch.sources;
    const bool new_weights = all_weights && weights_of != tensor.group;
    if (rows_of != at || new_weights) {
      __syncthreads();
      shared.load_rows(batch, tensor);
      if (new_weights) {
        shared.load_weights(batch, tensor.group, 0, batch.sources, width, width);
        weights_of = tensor.group;
      }
      rows_of = at;
      __syncthreads();
    }
    const std::uint64_t column = (tile - tensor.first_tile) * tile_elements + threadIdx.x * 4;
    const unsigned count = elements_at(column, tensor.elements);
    Four base = {};
    if (tensor.base != nullptr && count > 0) {
      base = load(tensor.base_type, tensor.base, column, count, tensor.aligned);
    }
    float sums[width][4] = {};
    for (std::uint32_t first = 0; first < batch.sources; first += batch.chunk) {
      const std::uint32_t last =
          first + batch.chunk < batch.sources ? first + batch.chunk : batch.sources;
      if (!all_weights) {
        __syncthreads();
        shared.load_weights(batch, tensor.group, first, last - first, width, width);
        __syncthreads();
      }
      if (count == 0) continue;
      const float* weights = shared.weights;
      std::uint32_t k = first;
      if (count == 4 && tensor.aligned) {
        // Four loads are under way before the first is used, also behind the last four sources.
        for (; k < last; k += 4, weights += 4 * width) {
          Four x[4];
#pragma unroll
          for (unsigned u = 0; u < 4; ++u) {
            if (k + u < last) x[u] = load_four(shared.rows[k + u] + column);
          }
#pragma unroll
          for (unsigned u = 0; u < 4; ++u) {
            if (k + u < last) {
              accumulate<Source, width>(weights + u * width, x[u], base, batch.subtract, sums);
            }
          }
        }
      } else {
        for (; k < last; ++k, weights += width) {
          const Four x = load_some(shared.rows[k] + column, count);
          accumulate<Source, width>(weights, x, base, batch.subtract, sums);
        }
      }
    }
    if (count == 0) continue;
#pragma unroll
    for (unsigned p = 0; p < width; ++p) {
      if (p < batch.candidates) {
        finish(batch, tensor, p, column, count, base,
               {{sums[p][0], sums[p][1], sums[p][2], sums[p][3]}});
      }
    }
  }
}

}  // namespace paretod::cuda
