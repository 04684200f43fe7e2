#include "evaluators/diffusion/influence.hpp"

#include <algorithm>
#include <cmath>
#include <vector>

namespace paretod {

LinearLayer influence_layer(const FrechetDistance::Expansion& expansion) {
  const std::size_t dimension = expansion.gradient.size();
  const std::vector<float> curvature(expansion.curvature.begin(), expansion.curvature.end());
  const std::vector<float> gradient(expansion.gradient.begin(), expansion.gradient.end());
  LinearLayer layer(dimension, dimension);
  layer.assign(curvature.data(), gradient.data());
  return layer;
}

void influence_of_tile(const SimdKernels& kernels, const LinearLayer& layer, const Moments& moments,
                       const float* features, std::size_t samples, float* influence, float* centred,
                       float* change) {
  const std::size_t dimension = moments.mean.size();
  for (std::size_t row = 0; row < dimension; ++row) {
    const auto mean = static_cast<float>(moments.mean[row]);
    for (std::size_t lane = 0; lane < tile_lanes; ++lane) {
      const std::size_t at = row * tile_lanes + lane;
      centred[at] = features[at] - mean;
    }
  }
  kernels.linear(layer.packed(), centred, Epilogue::store, change);
  float sums[tile_lanes] = {};
  for (std::size_t row = 0; row < dimension; ++row) {
    for (std::size_t lane = 0; lane < tile_lanes; ++lane) {
      const std::size_t at = row * tile_lanes + lane;
      sums[lane] += centred[at] * change[at];
    }
  }
  std::copy(sums, sums + std::min(tile_lanes, samples), influence);
}

double stratified_error(std::span<const float> influence, std::size_t labels) {
  const std::size_t strata = std::min(labels, influence.size() / 2);
  std::vector<double> sum(strata), squares(strata), count(strata);
  for (std::size_t i = 0; i < influence.size(); ++i) {
    const double x = influence[i];
    sum[i % strata] += x;
    squares[i % strata] += x * x;
    count[i % strata] += 1;
  }
  double variance = 0;
  for (std::size_t s = 0; s < strata; ++s) {
    const double within = (squares[s] - sum[s] * sum[s] / count[s]) / (count[s] - 1);
    variance += count[s] * std::max(within, 0.0);
  }
  return std::sqrt(variance) / static_cast<double>(influence.size());
}

}  // namespace paretod
