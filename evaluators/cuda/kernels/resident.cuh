#pragma once
// Shapes of launches whose blocks stay and take tile after tile (tiles.cuh).

#include <algorithm>

#include "evaluators/cuda/kernels/tiles.cuh"

namespace paretod::cuda {

/// Shared memory of a block: two of them have to fit in a multiprocessor.
inline std::size_t shared_budget(const DeviceLimits& limits) {
  return std::min<std::size_t>(limits.shared_bytes, 96 * 1024);
}

/// As many blocks as run at once, at most one per tile.
template <class Kernel>
unsigned resident_blocks(const DeviceLimits& limits, Kernel* kernel, std::size_t shared_bytes,
                         std::uint64_t tiles) {
  int blocks = 0;
  check(cudaOccupancyMaxActiveBlocksPerMultiprocessor(
            &blocks, kernel, static_cast<int>(block_threads), shared_bytes),
        "asking how many blocks fit");
  const std::uint64_t resident =
      std::uint64_t{limits.multiprocessors} * static_cast<unsigned>(std::max(blocks, 1));
  return static_cast<unsigned>(std::min(resident, tiles));
}

}  // namespace paretod::cuda
