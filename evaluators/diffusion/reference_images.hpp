#pragma once
// The real images that samples are compared with, as features.  Pure functions.

#include <cstddef>
#include <string>
#include <vector>

#include "adapters/safetensors/safetensors.hpp"
#include "evaluators/diffusion/aligned.hpp"
#include "evaluators/diffusion/feature_network.hpp"
#include "evaluators/diffusion/frechet.hpp"
#include "evaluators/diffusion/simd.hpp"
#include "optimizers/core/result.hpp"

namespace paretod {

/// [tiles_for(count)][network.rows()][tile_lanes]; lanes beyond the last image are zero.
struct ImageFeatures {
  std::size_t count = 0;
  AlignedVector<float> tiles;
  std::vector<double> labels;  ///< one per image
};

/// Features of the images "<set>.images" [n >= 2, pixels], U8 from 0 to 16, with their labels
/// "<set>.labels" [n], U8; zeros where there are none.
Result<ImageFeatures> reference_features(const SafetensorsFile& file, const std::string& set,
                                         const FeatureNetwork& network, std::size_t pixels);

/// Mean and covariance of the first `dimension` of `rows` rows.
Moments moments_of(const SimdKernels& kernels, const ImageFeatures& features, std::size_t dimension,
                   std::size_t rows);

}  // namespace paretod
