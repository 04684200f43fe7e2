#include "evaluators/diffusion/reference_images.hpp"

#include <algorithm>

#include "adapters/safetensors/widen.hpp"
#include "evaluators/diffusion/tiles.hpp"

namespace paretod {

Result<ImageFeatures> reference_features(const SafetensorsFile& file, const std::string& set,
                                         const FeatureNetwork& network, std::size_t pixels) {
  const std::string name = set + ".images";
  const TensorView* images = file.find(name);
  if (images == nullptr || images->dtype != DType::u8 || images->shape.size() != 2 ||
      images->shape[0] < 2 || images->shape[1] != pixels) {
    return invalid(file.path() + ": a U8 tensor \"" + name + "\" of shape [at least 2, " +
                   std::to_string(pixels) + "] is needed");
  }
  std::vector<float> values = to_floats(*images).value();
  for (float& value : values) value = value / 8 - 1;

  ImageFeatures features;
  features.count = images->shape[0];
  features.labels.resize(features.count);
  if (const TensorView* labels = file.find(set + ".labels")) {
    if (labels->dtype != DType::u8 || labels->shape != std::vector{images->shape[0]}) {
      return invalid(file.path() + ": the tensor \"" + set + ".labels\" must be U8 of shape [" +
                     std::to_string(features.count) + "]");
    }
    const std::vector<float> read = to_floats(*labels).value();
    features.labels.assign(read.begin(), read.end());
  }
  const AlignedVector<float> inputs = to_tiles(values.data(), features.count, pixels);
  features.tiles.resize(tiles_for(features.count) * network.rows() * tile_lanes);
  AlignedVector<float> scratch(network.scratch_size());
  for (std::size_t tile = 0; tile < tiles_for(features.count); ++tile) {
    network.compute(inputs.data() + tile * pixels * tile_lanes,
                    std::min(tile_lanes, features.count - tile * tile_lanes),
                    features.tiles.data() + tile * network.rows() * tile_lanes, scratch.data());
  }
  return features;
}

Moments moments_of(const SimdKernels& kernels, const ImageFeatures& features, std::size_t dimension,
                   std::size_t rows) {
  MomentSums sums{features.count, std::vector<double>(dimension), std::vector<double>(rows * rows),
                  rows};
  for (std::size_t row = 0; row < rows; row += 4) {
    sum_strip(kernels, features.tiles.data(), tiles_for(features.count), row, sums);
  }
  return moments_of(sums);
}

}  // namespace paretod
