#pragma once
// How the elements of many tensors are dealt out to blocks: in tiles of consecutive elements, a
// block taking consecutive tiles, so that what a tensor needs is fetched once per block.

#include "evaluators/cuda/kernels/numbers.cuh"

namespace paretod::cuda {

/// Index of the last of `count` + 1 ascending numbers that is not above `tile`; the first is 0 and
/// the one behind the last is above it.  `first_of(i)` is number i.
template <class First>
__host__ __device__ __forceinline__ std::uint32_t last_not_above(std::uint64_t tile,
                                                                 std::uint32_t count,
                                                                 First first_of) {
  std::uint32_t low = 0;
  std::uint32_t high = count;
  while (high - low > 1) {
    const std::uint32_t middle = low + (high - low) / 2;
    if (first_of(middle) <= tile) {
      low = middle;
    } else {
      high = middle;
    }
  }
  return low;
}

struct TileRange {
  std::uint64_t first;
  std::uint64_t end;
};

/// The tiles of one block out of `blocks`: shares that differ by one at most.
__host__ __device__ __forceinline__ TileRange share_of(std::uint64_t tiles, std::uint64_t block,
                                                       std::uint64_t blocks) {
  const std::uint64_t least = tiles / blocks;
  const std::uint64_t more = tiles % blocks;
  const std::uint64_t first = block * least + (block < more ? block : more);
  return {first, first + least + (block < more ? 1 : 0)};
}

/// How many of a thread's four elements from `column` on exist.
__host__ __device__ __forceinline__ unsigned elements_at(std::uint64_t column,
                                                         std::uint64_t elements) {
  if (column >= elements) return 0;
  return elements - column < 4 ? static_cast<unsigned>(elements - column) : 4;
}

}  // namespace paretod::cuda
