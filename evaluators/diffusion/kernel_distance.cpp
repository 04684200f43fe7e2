#include "evaluators/diffusion/kernel_distance.hpp"

#include <algorithm>
#include <vector>

#include "evaluators/diffusion/aligned.hpp"
#include "evaluators/diffusion/tiles.hpp"

namespace paretod {
namespace {

/// A layer whose outputs are the dot products of its input with each of the samples in `tiles`.
LinearLayer dot_products(const float* tiles, std::size_t samples, std::size_t rows) {
  std::vector<float> weights(samples * rows);
  for (std::size_t i = 0; i < samples; ++i) {
    const float* lane = tiles + i / tile_lanes * rows * tile_lanes + i % tile_lanes;
    for (std::size_t row = 0; row < rows; ++row) weights[i * rows + row] = lane[row * tile_lanes];
  }
  const std::vector<float> none(samples);
  LinearLayer layer(samples, rows);
  layer.assign(weights.data(), none.data());
  return layer;
}

/// Adds k of rows [first, last) of dot products to each lane's sum.
void add_kernel(const float* products, std::size_t first, std::size_t last, double scale,
                double* sums) {
  for (std::size_t row = first; row < last; ++row) {
    const float* from = products + row * tile_lanes;
    for (std::size_t lane = 0; lane < tile_lanes; ++lane) {
      const double base = from[lane] * scale + 1;
      sums[lane] += base * base * base;
    }
  }
}

/// Sum of k over the pairs i < j of samples.
double pairs_within(const SimdKernels& kernels, const LinearLayer& products, const float* tiles,
                    std::size_t samples, std::size_t dimension) {
  const std::size_t rows = products.inputs();
  const double scale = 1.0 / static_cast<double>(dimension);
  AlignedVector<float> out(padded_rows(samples) * tile_lanes);
  double total = 0;
  for (std::size_t tile = 0; tile < tiles_for(samples); ++tile) {
    const std::size_t first = tile * tile_lanes;
    const std::size_t lanes = std::min(tile_lanes, samples - first);
    PackedLinear before = products.packed();
    before.outputs = first + lanes;  // a lane's own tile is the last that it needs
    kernels.linear(before, tiles + tile * rows * tile_lanes, Epilogue::store, out.data());
    double sums[tile_lanes] = {};
    add_kernel(out.data(), 0, first, scale, sums);
    for (std::size_t lane = 0; lane < lanes; ++lane) {
      for (std::size_t row = first; row < first + lane; ++row) {
        const double base = out[row * tile_lanes + lane] * scale + 1;
        sums[lane] += base * base * base;
      }
      total += sums[lane];
    }
  }
  return total;
}

double mean_of_pairs(double sum, std::size_t samples) {
  const auto n = static_cast<double>(samples);
  return samples < 2 ? 0 : sum / (n * (n - 1) / 2);
}

}  // namespace

KernelDistance::KernelDistance(const ImageFeatures& reference, std::size_t dimension,
                               std::size_t rows, const SimdKernels& kernels)
    : dimension_(dimension),
      rows_(rows),
      reference_(dot_products(reference.tiles.data(), reference.count, rows)),
      images_(reference.count),
      within_reference_(mean_of_pairs(
          pairs_within(kernels, reference_, reference.tiles.data(), reference.count, dimension),
          reference.count)),
      kernels_(&kernels) {}

KernelDistance::Block KernelDistance::block(const float* tiles, std::size_t samples) const {
  Block out{samples};
  out.within = mean_of_pairs(pairs_within(*kernels_, dot_products(tiles, samples, rows_), tiles,
                                          samples, dimension_),
                             samples);
  const double scale = 1.0 / static_cast<double>(dimension_);
  AlignedVector<float> products(padded_rows(images_) * tile_lanes);
  for (std::size_t tile = 0; tile < tiles_for(samples); ++tile) {
    kernels_->linear(reference_.packed(), tiles + tile * rows_ * tile_lanes, Epilogue::store,
                     products.data());
    double sums[tile_lanes] = {};
    add_kernel(products.data(), 0, images_, scale, sums);
    const std::size_t lanes = std::min(tile_lanes, samples - tile * tile_lanes);
    for (std::size_t lane = 0; lane < lanes; ++lane) out.between += sums[lane];
  }
  out.between /= static_cast<double>(samples) * static_cast<double>(images_);
  return out;
}

double KernelDistance::value(std::span<const Block> blocks) const {
  double total = 0;
  double samples = 0;
  for (const Block& block : blocks) {
    if (block.samples < 2) continue;
    const auto weight = static_cast<double>(block.samples);
    total += weight * (block.within - 2 * block.between + within_reference_);
    samples += weight;
  }
  return total / samples;
}

}  // namespace paretod
