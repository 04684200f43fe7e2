#pragma once
// Merges of sparsified differences: each source's x - b loses elements by a threshold on its
// magnitude or by a random mask, and what is left is scaled, then summed, or summed over those
// sources that agree with the elected sign (TIES).  Nothing but the result is written: masks and
// thresholds are applied as the sources are read.
//
// The same operations in the same order as the engine on the processor (block_merger.cpp there),
// so that both give the same bits.
//
// Bytes per element as in combine.cuh, (K s + P s'), but some 8 to 25 instructions for each source
// and candidate instead of one.  With K = 8 and one candidate at two bytes a number that is 18 B
// (5.4 ps at 3.35 TB/s) against about 8 x 12 instructions (3.3 ps at 29 T instructions/s), bound by
// memory; with 4 candidates a pass it is bound by instructions, which is why a pass takes no more.

#include "evaluators/cuda/kernels/combine.cuh"

namespace paretod::cuda {

__host__ __device__ __forceinline__ bool keeps_between(std::uint32_t magnitude, std::uint64_t index,
                                                       const ResolvedRow& row) {
  const std::int32_t bits = static_cast<std::int32_t>(magnitude);
  const std::int32_t low = row.bits - (index < row.cut ? 1 : 0);
  const std::int32_t high = row.dropped_bits - (index < row.dropped_cut ? 1 : 0);
  return bits > low && bits <= high;
}

__device__ __forceinline__ ResolvedRow resolve(const SparseRow& row, const Threshold* thresholds) {
  ResolvedRow out = {0, 0, -1, 0x7FFFFFFF, row.below, row.scale, row.weight, row.kind};
  if (row.kind == SparseKind::random) {
    out.cut = row.key;
  } else if (row.kind == SparseKind::between) {
    if (row.kept >= 0) {
      out.bits = thresholds[row.kept].bits;
      out.cut = thresholds[row.kept].cut;
    }
    if (row.dropped >= 0) {
      out.dropped_bits = thresholds[row.dropped].bits;
      out.dropped_cut = thresholds[row.dropped].cut;
    }
  }
  return out;
}

/// Of four elements from `index` (a multiple of 4) on: which are kept, as bits.
__device__ __forceinline__ unsigned kept_of(const ResolvedRow& row, const float (&d)[4],
                                            std::uint64_t index) {
  switch (row.kind) {
    case SparseKind::none:
      return 0;
    case SparseKind::all:
      return 0xF;
    case SparseKind::random: {
      const RandomFour random = philox(row.cut, index / 4);
      unsigned kept = 0;
#pragma unroll
      for (unsigned i = 0; i < 4; ++i) {
        // Not kept |= (.. ? ..) << i, which GCC 12 miscompiles with -fsanitize=bounds.
        if (random.at[i] < row.below) kept = kept | 1U << i;
      }
      return kept;
    }
    default: {
      unsigned kept = 0;
#pragma unroll
      for (unsigned i = 0; i < 4; ++i) {
        kept |= (keeps_between(magnitude_bits(d[i]), index + i, row) ? 1U : 0U) << i;
      }
      return kept;
    }
  }
}

/// Sums of one element for one candidate.
struct PlainSum {
  float sum;
  __device__ void start(float kept, float) { sum = kept; }
  __device__ void add(float kept, float) { sum = sum + kept; }
  __device__ float result(bool) const { return sum; }
};
/// Both signs are summed while the sum that elects one of them grows.
struct ElectedSum {
  float total;
  float positive, negative;
  float positive_weight, negative_weight;
  __device__ void start(float kept, float weight) {
    total = positive = negative = positive_weight = negative_weight = 0;
    add(kept, weight);
  }
  __device__ void add(float kept, float weight) {
    total = total + kept;
    positive = positive + (kept > 0 ? kept : 0);
    negative = negative + (kept < 0 ? kept : 0);
    positive_weight = positive_weight + (kept > 0 ? weight : 0);
    negative_weight = negative_weight + (kept < 0 ? weight : 0);
  }
  __device__ float result(bool divide) const {
    const bool up = total >= 0;
    const float sum = up ? positive : negative;
    const float divisor = up ? positive_weight : negative_weight;
    if (!divide) return sum;
    return sum / (divisor == 0 ? 1.0F : divisor);
  }
};

template <class Source, class Sum, unsigned width>
__global__ void __launch_bounds__(block_threads) combine_sparse(const SparseBatch sparse) {
  const CombineBatch& batch = sparse.combine;
  auto* rows = reinterpret_cast<const Source**>(dynamic_shared());
  auto* resolved =
      reinterpret_cast<ResolvedRow*>(dynamic_shared() + row_table_bytes(batch.sources));
  const TileRange range = share_of(batch.tiles, blockIdx.x, gridDim.x);
  std::uint32_t at = last_not_above(range.first, batch.tensor_count,
                                    [&](std::uint32_t i) { return batch.tensors[i].first_tile; });
  std::uint32_t rows_of = 0xFFFFFFFF;
  for (std::uint64_t tile = range.first; tile < range.end; ++tile) {
    while (tile >= batch.tensors[at + 1].first_tile) ++at;
    const CombineTensor tensor = batch.tensors[at];
    if (rows_of != at) {
      __syncthreads();
      for (std::uint32_t i = threadIdx.x; i < batch.sources * width; i += block_threads) {
        const std::uint32_t k = i / width;
        const std::uint32_t p = i % width;
        if (p == 0) rows[k] = static_cast<const Source*>(batch.rows[tensor.first_row + k]);
        if (p < batch.candidates) {
          const std::size_t which =
              (std::size_t{sparse.first_tensor + at} * batch.sources + k) * batch.stride +
              batch.first_candidate + p;
          resolved[i] = resolve(sparse.sparse[which], sparse.thresholds);
        } else {
          resolved[i] = {0, 0, 0, 0, 0, 0, 0, SparseKind::none};
        }
      }
      rows_of = at;
      __syncthreads();
    }
    const std::uint64_t column = (tile - tensor.first_tile) * tile_elements + threadIdx.x * 4;
    const unsigned count = elements_at(column, tensor.elements);
    if (count == 0) continue;
    Four base = {};
    if (tensor.base != nullptr) {
      base = load(tensor.base_type, tensor.base, column, count, tensor.aligned);
    }
    Sum sums[width][4] = {};
    for (std::uint32_t k = 0; k < batch.sources; ++k) {
      const Four x = load(rows[k], column, count, tensor.aligned);
      float d[4];
#pragma unroll
      for (unsigned i = 0; i < 4; ++i) d[i] = batch.subtract ? x.at[i] - base.at[i] : x.at[i];
#pragma unroll
      for (unsigned p = 0; p < width; ++p) {
        const ResolvedRow& row = resolved[k * width + p];
        const unsigned kept = kept_of(row, d, tensor.first_element + column);
#pragma unroll
        for (unsigned i = 0; i < 4; ++i) {
          const float value = (kept >> i & 1) != 0 ? row.scale * d[i] : 0.0F;
          if (k == 0) {
            sums[p][i].start(value, row.weight);
          } else {
            sums[p][i].add(value, row.weight);
          }
        }
      }
    }
#pragma unroll
    for (unsigned p = 0; p < width; ++p) {
      if (p >= batch.candidates) continue;
      Four out;
#pragma unroll
      for (unsigned i = 0; i < 4; ++i) out.at[i] = sums[p][i].result(sparse.divide);
      finish(batch, tensor, p, column, count, base, out);
    }
  }
}

}  // namespace paretod::cuda
