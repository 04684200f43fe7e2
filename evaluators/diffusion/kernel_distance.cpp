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

double cubic(float product, double scale) {
  const double base = product * scale + 1;
  return base * base * base;
}

/// Sums of k over pairs i < j of samples, and how many they are.
struct PairSums {
  double all = 0;
  double equal = 0;  ///< of equal labels
  double count = 0;
  double equal_count = 0;

  /// The mean over pairs of which `share` have equal labels.
  [[nodiscard]] double mean(double share) const {
    if (count == 0) return 0;
    if (equal_count == 0 || equal_count == count) return all / count;
    return share * equal / equal_count + (1 - share) * (all - equal) / (count - equal_count);
  }
};

PairSums pairs_within(const SimdKernels& kernels, const LinearLayer& products, const float* tiles,
                      std::span<const double> labels, std::size_t dimension) {
  const std::size_t rows = products.inputs();
  const double scale = 1.0 / static_cast<double>(dimension);
  AlignedVector<float> out(padded_rows(labels.size()) * tile_lanes);
  PairSums sums;
  for (std::size_t first = 0; first < labels.size(); first += tile_lanes) {
    const std::size_t lanes = std::min(tile_lanes, labels.size() - first);
    PackedLinear before = products.packed();
    before.outputs = first + lanes;  // a lane's own tile is the last that it needs
    kernels.linear(before, tiles + first * rows, Epilogue::store, out.data());
    double all[tile_lanes] = {};
    double equal[tile_lanes] = {};
    double equal_count[tile_lanes] = {};
    const std::span<const double> own = labels.subspan(first, lanes);
    for (std::size_t row = 0; row < first; ++row) {
      const float* from = out.data() + row * tile_lanes;
      for (std::size_t lane = 0; lane < lanes; ++lane) {
        const double k = cubic(from[lane], scale);
        const bool same = own[lane] == labels[row];
        all[lane] += k;
        equal[lane] += same ? k : 0.0;
        equal_count[lane] += same ? 1.0 : 0.0;
      }
    }
    for (std::size_t lane = 0; lane < lanes; ++lane) {
      for (std::size_t row = first; row < first + lane; ++row) {
        const double k = cubic(out[row * tile_lanes + lane], scale);
        const bool same = own[lane] == labels[row];
        all[lane] += k;
        equal[lane] += same ? k : 0.0;
        equal_count[lane] += same ? 1.0 : 0.0;
      }
      sums.all += all[lane];
      sums.equal += equal[lane];
      sums.equal_count += equal_count[lane];
      sums.count += static_cast<double>(first + lane);
    }
  }
  return sums;
}

/// How often two images drawn from these have equal labels.
double equal_share(std::span<const double> labels) {
  double equal = 0;
  for (const double label : labels) {
    equal += static_cast<double>(std::count(labels.begin(), labels.end(), label));
  }
  const auto n = static_cast<double>(labels.size());
  return equal / (n * n);
}

}  // namespace

KernelDistance::KernelDistance(const ImageFeatures& reference, std::size_t dimension,
                               std::size_t rows, std::size_t labels, const SimdKernels& kernels)
    : dimension_(dimension),
      rows_(rows),
      reference_(dot_products(reference.tiles.data(), reference.count, rows)),
      images_(reference.count),
      label_share_(1.0 / static_cast<double>(labels)),
      within_reference_(
          pairs_within(kernels, reference_, reference.tiles.data(), reference.labels, dimension)
              .mean(equal_share(reference.labels))),
      kernels_(&kernels) {}

KernelDistance::Block KernelDistance::block(const float* tiles,
                                            std::span<const double> labels) const {
  const std::size_t samples = labels.size();
  Block out{samples};
  const LinearLayer own = dot_products(tiles, samples, rows_);
  out.within = pairs_within(*kernels_, own, tiles, labels, dimension_).mean(label_share_);
  const double scale = 1.0 / static_cast<double>(dimension_);
  AlignedVector<float> products(padded_rows(images_) * tile_lanes);
  for (std::size_t tile = 0; tile < tiles_for(samples); ++tile) {
    kernels_->linear(reference_.packed(), tiles + tile * rows_ * tile_lanes, Epilogue::store,
                     products.data());
    double sums[tile_lanes] = {};
    for (std::size_t row = 0; row < images_; ++row) {
      const float* from = products.data() + row * tile_lanes;
      for (std::size_t lane = 0; lane < tile_lanes; ++lane) sums[lane] += cubic(from[lane], scale);
    }
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
