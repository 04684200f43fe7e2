#include "evaluators/diffusion/feature_network.hpp"

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "adapters/safetensors/widen.hpp"

namespace paretod {
namespace {

/// A layer whose number of outputs the file decides.
Result<LinearLayer> load_layer(const SafetensorsFile& file, const std::string& name,
                               std::size_t inputs) {
  const TensorView* matrix = file.find(name + ".w");
  if (matrix == nullptr || matrix->shape.size() != 2 || matrix->shape[0] == 0 ||
      matrix->shape[1] != inputs) {
    return invalid(file.path() + ": a tensor \"" + name + ".w\" of shape [n, " +
                   std::to_string(inputs) + "] is needed" +
                   (matrix == nullptr ? "" : ", not " + to_string(matrix->shape)));
  }
  const auto vector = file.get(name + ".b", {matrix->shape[0]});
  if (!vector) return vector.error();
  const auto weights = to_floats(*matrix);
  if (!weights) return invalid(file.path() + ": " + weights.error().message);
  const auto bias = to_floats(*vector);
  if (!bias) return invalid(file.path() + ": " + bias.error().message);
  LinearLayer layer(matrix->shape[0], inputs);
  layer.assign(weights->data(), bias->data());
  return layer;
}

}  // namespace

Result<FeatureNetwork> FeatureNetwork::load(const SafetensorsFile& file, std::size_t pixels,
                                            float pixel_weight, const SimdKernels& kernels) {
  auto first = load_layer(file, "f1", pixels);
  if (!first) return first.error();
  auto last = load_layer(file, "f2", first->outputs());
  if (!last) return last.error();
  return FeatureNetwork(std::move(*first), std::move(*last), pixels, pixel_weight, kernels);
}

FeatureNetwork::FeatureNetwork(LinearLayer first, LinearLayer last, std::size_t pixels,
                               float pixel_weight, const SimdKernels& kernels)
    : first_(std::move(first)),
      last_(std::move(last)),
      pixels_(pixels),
      pixel_weight_(pixel_weight),
      kernels_(&kernels) {}

void FeatureNetwork::compute(const float* images, std::size_t samples, float* features,
                             float* scratch) const {
  kernels_->linear(first_.packed(), images, Epilogue::tanh, scratch);
  kernels_->linear(last_.packed(), scratch, Epilogue::tanh, features);
  float* pixels = features + last_.outputs() * tile_lanes;
  for (std::size_t i = 0; i < pixels_ * tile_lanes; ++i) pixels[i] = pixel_weight_ * images[i];
  std::fill(features + dimension() * tile_lanes, features + rows() * tile_lanes, 0.0F);
  for (std::size_t row = 0; samples < tile_lanes && row < dimension(); ++row) {
    std::fill(features + row * tile_lanes + samples, features + (row + 1) * tile_lanes, 0.0F);
  }
}

}  // namespace paretod
