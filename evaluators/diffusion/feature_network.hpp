#pragma once
// What the Frechet distance is taken on: the second layer of a small tanh classifier, then all
// pixels times a weight.  (On the network's features alone a search finds noisy pictures that the
// network happens to like.)  Immutable; any thread, each with its own scratch.

#include <cstddef>

#include "adapters/safetensors/safetensors.hpp"
#include "evaluators/diffusion/aligned.hpp"
#include "evaluators/diffusion/linear_layer.hpp"
#include "evaluators/diffusion/simd.hpp"
#include "optimizers/core/result.hpp"

namespace paretod {

class FeatureNetwork {
 public:
  /// Tensors f1.w [hidden, pixels], f1.b, f2.w [features, hidden], f2.b; others are ignored.
  static Result<FeatureNetwork> load(const SafetensorsFile& file, std::size_t pixels,
                                     float pixel_weight, const SimdKernels& kernels);

  /// Network features plus pixels.
  [[nodiscard]] std::size_t dimension() const { return last_.outputs() + pixels_; }
  /// Rows of a tile of features.
  [[nodiscard]] std::size_t rows() const { return padded_rows(dimension()); }
  /// Floating-point operations per image (two per multiply-add).
  [[nodiscard]] double flops() const {
    return 2.0 * static_cast<double>(first_.outputs() * (pixels_ + last_.outputs()));
  }
  /// Floats of scratch memory that compute() needs.
  [[nodiscard]] std::size_t scratch_size() const {
    return padded_rows(first_.outputs()) * tile_lanes;
  }

  /// features [rows()][tile_lanes] of images [pixels][tile_lanes]; padding rows and the lanes from
  /// `samples` on become zero, so that sums over lanes need no mask.
  void compute(const float* images, std::size_t samples, float* features, float* scratch) const;

 private:
  FeatureNetwork(LinearLayer first, LinearLayer last, std::size_t pixels, float pixel_weight,
                 const SimdKernels& kernels);

  LinearLayer first_;
  LinearLayer last_;
  std::size_t pixels_;
  float pixel_weight_;
  const SimdKernels* kernels_;
};

}  // namespace paretod
