#pragma once
// Between sample-major matrices and the tiles of simd.hpp.  Pure functions.

#include <cstddef>

#include "evaluators/diffusion/aligned.hpp"
#include "evaluators/diffusion/simd.hpp"

namespace paretod {

inline constexpr std::size_t tiles_for(std::size_t samples) {
  return (samples + tile_lanes - 1) / tile_lanes;
}

/// [samples][rows] to [tiles][rows][tile_lanes]; lanes beyond the last sample are zero.
AlignedVector<float> to_tiles(const float* matrix, std::size_t samples, std::size_t rows);

}  // namespace paretod
