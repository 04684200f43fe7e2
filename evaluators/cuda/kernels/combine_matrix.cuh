#pragma once
// `combine` of combine.cuh on tensor cores: for 32 or 64 candidates a pass.
//
// A warp takes 32 consecutive elements at a time.  Sources are the inner dimension of
// mma.m16n8k8 (16 candidates x 8 sources times 8 sources x 8 elements) in tf32 with float32 sums.
// tf32 keeps 11 bits, so a float is split into two of them, x = high + low + at most 2^-22 |x|, and
// high high + high low + low high are summed: what is left out is of the size of float32's own
// rounding.  Stored halves and bfloats are tf32 numbers already, so that without a base to subtract
// two products do.
//
// Which elements a fragment's columns stand for is free.  Lane (g, q) = (lane / 4, lane % 4) loads
// elements 4 g .. 4 g + 3 of sources q and q + 4, a full 128-byte line per source and warp at
// float32; fragment j takes the j-th of each four, so its column c is element 4 c + j.  Results
// then come out as 8 consecutive elements per lane and candidate: no shared memory for the sources,
// and 16-byte stores.
//
// With 64 candidates a lane holds 64 sums of its 128 registers; nothing spills (nvcc 13.0) because
// the tensor's row of the table lies in shared memory.  Two blocks of 8 warps fit in a
// multiprocessor's registers, and each lane has two loads of 16 bytes on the way: 16 KB, at the
// lower end of what the memory needs (combine.cuh).
//
// Infinite sources give NaN here (infinity less itself is the low part).
//
// Shared memory: weights only, rows of candidates padded by 8, so that the 32 lanes of a load
// (8 candidates x 4 sources) hit 32 banks.

#include "evaluators/cuda/kernels/combine.cuh"

namespace paretod::cuda {

/// A number that tf32 can hold, nearest to x.
__device__ __forceinline__ std::uint32_t round_tf32(float x) {
#ifdef __CUDA_ARCH__
  std::uint32_t bits;
  asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(bits) : "f"(x));
  return bits;
#else
  // Ties away from zero; 13 bits go.  Infinity and NaN stay what they are.
  const std::uint32_t bits = bits_of(x);
  if ((bits & 0x7F800000) == 0x7F800000) return bits;
  return (bits + 0x1000) & 0xFFFFE000;
#endif
}

struct SplitFloat {
  std::uint32_t high;
  std::uint32_t low;
};
__device__ __forceinline__ SplitFloat split(float x) {
  const std::uint32_t high = round_tf32(x);
  return {high, round_tf32(x - float_of(high))};
}

/// d += a b for a warp: a[i] and b[i] as in the PTX manual, mma.m16n8k8 with .tf32.  With g and q
/// as above, a is at (candidate g, source q), (g + 8, q), (g, q + 4), (g + 8, q + 4); b at
/// (source q, column g), (q + 4, g); d at (candidate g, column 2 q), (g, 2 q + 1), (g + 8, 2 q),
/// (g + 8, 2 q + 1).
__device__ __forceinline__ void multiply_add(float (&d)[4], const std::uint32_t (&a)[4],
                                             const std::uint32_t (&b)[2]) {
#ifdef __CUDA_ARCH__
  asm volatile(
      "mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, "
      "{%0,%1,%2,%3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#elif !defined(__CUDACC__)
  const unsigned lane = threadIdx.x % 32;
  std::memcpy(emulation::exchange(lane), a, sizeof a);
  std::memcpy(emulation::exchange(lane) + sizeof a, b, sizeof b);
  emulation::warp_barrier();
  const auto fragment = [](unsigned from, unsigned word) {
    float value;
    std::memcpy(&value, emulation::exchange(from) + 4 * word, sizeof value);
    return value;
  };
  for (unsigned i = 0; i < 4; ++i) {
    const unsigned row = lane / 4 + (i < 2 ? 0 : 8);
    const unsigned column = 2 * (lane % 4) + i % 2;
    for (unsigned k = 0; k < 8; ++k) {
      const float left = fragment(row % 8 * 4 + k % 4, (row < 8 ? 0 : 1) + (k < 4 ? 0 : 2));
      const float right = fragment(column * 4 + k % 4, 4 + (k < 4 ? 0 : 1));
      d[i] = fmaf(left, right, d[i]);
    }
  }
  emulation::warp_barrier();
#endif
}

/// Padding of a row of weights in shared memory.
inline constexpr unsigned matrix_padding = 8;
/// Sources of one product.
inline constexpr unsigned matrix_depth = 8;

/// 16 `fragments` candidates a pass.
template <class Source, unsigned fragments>
__global__ void __launch_bounds__(block_threads, 2) combine_matrix(const CombineBatch batch) {
  constexpr unsigned width = 16 * fragments;
  constexpr unsigned pitch = width + matrix_padding;
  constexpr bool short_source = sizeof(Source) == 2;
  __shared__ CombineTensor tensor;
  const CombineShared<Source> shared(batch.sources);
  const unsigned lane = threadIdx.x % 32;
  const unsigned g = lane / 4;
  const unsigned q = lane % 4;
  const TileRange range = share_of(batch.tiles, blockIdx.x, gridDim.x);
  std::uint32_t at = last_not_above(range.first, batch.tensor_count,
                                    [&](std::uint32_t i) { return batch.tensors[i].first_tile; });
  bool loaded = false;
  const bool all_weights = batch.chunk >= batch.sources;
  for (std::uint64_t tile = range.first; tile < range.end; ++tile) {
    while (tile >= batch.tensors[at + 1].first_tile) ++at;
    if (!loaded || tile == batch.tensors[at].first_tile) {
      const bool new_weights = all_weights && (!loaded || tensor.group != batch.tensors[at].group);
      __syncthreads();
      if (threadIdx.x == 0) tensor = batch.tensors[at];
      __syncthreads();
      shared.load_rows(batch, tensor);
      if (new_weights) {
        const std::uint32_t padded =
            (batch.sources + matrix_depth - 1) / matrix_depth * matrix_depth;
        shared.load_weights(batch, tensor.group, 0, padded, width, pitch);
      }
      loaded = true;
      __syncthreads();
    }
    const bool subtract = batch.subtract && tensor.base != nullptr;
    // Four times 32 elements for each of the block's eight warps.
#pragma unroll 1
    for (unsigned part = 0; part < 4; ++part) {
      const std::uint64_t start =
          (tile - tensor.first_tile) * tile_elements + threadIdx.x / 32 * 128 + part * 32;
      const std::uint64_t column = start + 4 * g;
      const unsigned count = elements_at(column, tensor.elements);
      Four base = {};
      if (subtract && count > 0) {
        base = load(tensor.base_type, tensor.base, column, count, tensor.aligned);
      }
      float sums[fragments][4][4] = {};
      for (std::uint32_t first = 0; first < batch.sources; first += batch.chunk) {
        const std::uint32_t last =
            first + batch.chunk < batch.sources ? first + batch.chunk : batch.sources;
        if (!all_weights) {
          const std::uint32_t padded =
              (last - first + matrix_depth - 1) / matrix_depth * matrix_depth;
          __syncthreads();
          shared.load_weights(batch, tensor.group, first, padded, width, pitch);
          __syncthreads();
        }
        // Of this lane's two sources of the step from k on; one step ahead of the products, so that
        // loads are on their way meanwhile.
        const auto load_step = [&](std::uint32_t k, Four(&x)[2]) {
#pragma unroll
          for (unsigned half = 0; half < 2; ++half) {
            const std::uint32_t source = k + q + 4 * half;
            x[half] = {};
            if (source < last && count > 0) {
              x[half] = load(shared.rows[source], column, count, tensor.aligned);
            }
          }
        };
        Four next[2];
        load_step(first, next);
        // The whole warp, since a product needs every lane.
#pragma unroll 1
        for (std::uint32_t k = first; k < last; k += matrix_depth) {
          SplitFloat b[4][2];
#pragma unroll
          for (unsigned half = 0; half < 2; ++half) {
            // A source that is not there stays zero.
            const bool difference = subtract && k + q + 4 * half < last;
#pragma unroll
            for (unsigned j = 0; j < 4; ++j) {
              const float x = next[half].at[j];
              const float d = difference ? x - base.at[j] : x;
              b[j][half] = short_source && !subtract ? SplitFloat{bits_of(d), 0} : split(d);
            }
          }
          load_step(k + matrix_depth, next);
          const float* weights = shared.weights + (k - first + q) * pitch + g;
#pragma unroll
          for (unsigned m = 0; m < fragments; ++m) {
            SplitFloat a[4];
            a[0] = split(weights[16 * m]);
            a[1] = split(weights[16 * m + 8]);
            a[2] = split(weights[16 * m + 4 * pitch]);
            a[3] = split(weights[16 * m + 4 * pitch + 8]);
            const std::uint32_t high[4] = {a[0].high, a[1].high, a[2].high, a[3].high};
            const std::uint32_t low[4] = {a[0].low, a[1].low, a[2].low, a[3].low};
#pragma unroll
            for (unsigned j = 0; j < 4; ++j) {
              const std::uint32_t b_high[2] = {b[j][0].high, b[j][1].high};
              multiply_add(sums[m][j], low, b_high);
              if (!short_source || subtract) {
                const std::uint32_t b_low[2] = {b[j][0].low, b[j][1].low};
                multiply_add(sums[m][j], high, b_low);
              }
              multiply_add(sums[m][j], high, b_high);
            }
          }
        }
      }
      // This lane's results: elements start + 8 q .. + 7 of candidates g and g + 8 of each
      // fragment.
#pragma unroll
      for (unsigned half = 0; half < 2; ++half) {
        const std::uint64_t out = start + 8 * q + 4 * half;
        const unsigned out_count = elements_at(out, tensor.elements);
        if (out_count == 0) continue;
        Four out_base = {};
        if (tensor.base != nullptr) {
          out_base = load(tensor.base_type, tensor.base, out, out_count, tensor.aligned);
        }
#pragma unroll
        for (unsigned m = 0; m < fragments; ++m) {
#pragma unroll
          for (unsigned lower = 0; lower < 2; ++lower) {
            const std::uint32_t p = 16 * m + g + 8 * lower;
            if (p >= batch.candidates) continue;
            const unsigned i = half + 2 * lower;
            finish(batch, tensor, p, out, out_count, out_base,
                   {{sums[m][0][i], sums[m][1][i], sums[m][2][i], sums[m][3][i]}});
          }
        }
      }
    }
  }
}

}  // namespace paretod::cuda
