#include "evaluators/diffusion/tiles.hpp"

namespace paretod {

AlignedVector<float> to_tiles(const float* matrix, std::size_t samples, std::size_t rows) {
  AlignedVector<float> tiles(tiles_for(samples) * rows * tile_lanes);
  for (std::size_t i = 0; i < samples; ++i) {
    float* lane = tiles.data() + i / tile_lanes * rows * tile_lanes + i % tile_lanes;
    for (std::size_t row = 0; row < rows; ++row) lane[row * tile_lanes] = matrix[i * rows + row];
  }
  return tiles;
}

}  // namespace paretod
