#include "evaluators/diffusion/sample_judge.hpp"

#include <algorithm>
#include <utility>
#include <vector>

#include "adapters/safetensors/safetensors.hpp"
#include "evaluators/diffusion/aligned.hpp"
#include "evaluators/diffusion/influence.hpp"
#include "evaluators/diffusion/parallel.hpp"
#include "evaluators/diffusion/reference_images.hpp"
#include "evaluators/diffusion/tiles.hpp"

namespace paretod {

Result<SampleJudge> SampleJudge::load(const ModelDescription& model, bool kernel_distance,
                                      const SimdKernels& kernels) {
  const auto feature_file = SafetensorsFile::open(model.features);
  if (!feature_file) return feature_file.error();
  auto features = FeatureNetwork::load(*feature_file, model.shape.pixels,
                                       static_cast<float>(model.pixel_weight), kernels);
  if (!features) return features.error();
  const auto images = SafetensorsFile::open(model.reference);
  if (!images) return images.error();
  const auto searched = reference_features(*images, "a", *features, model.shape.pixels);
  if (!searched) return searched.error();
  const auto heldout = reference_features(*images, "b", *features, model.shape.pixels);
  if (!heldout) return heldout.error();

  const std::size_t dimension = features->dimension();
  const std::size_t rows = features->rows();
  std::optional<KernelDistance> kernel;
  if (kernel_distance) kernel.emplace(*searched, dimension, rows, model.labels(), kernels);
  FrechetDistance to_searched(moments_of(kernels, *searched, dimension, rows));
  FrechetDistance to_heldout(moments_of(kernels, *heldout, dimension, rows));
  return SampleJudge(model, std::move(*features), std::move(to_searched), std::move(to_heldout),
                     std::move(kernel), kernels);
}

SampleJudge::SampleJudge(const ModelDescription& model, FeatureNetwork features,
                         FrechetDistance searched, FrechetDistance heldout,
                         std::optional<KernelDistance> kernel, const SimdKernels& kernels)
    : model_(model),
      features_(std::move(features)),
      searched_(std::move(searched)),
      heldout_(std::move(heldout)),
      kernel_(std::move(kernel)),
      kernels_(&kernels) {}

SampleBlock SampleJudge::block(const float* tiles, std::size_t first, std::size_t samples) const {
  const std::size_t rows = features_.rows();
  AlignedVector<float> masked;
  if (samples % tile_lanes != 0) {  // sums run over whole tiles
    masked.assign(tiles, tiles + tiles_for(samples) * rows * tile_lanes);
    float* last = masked.data() + samples / tile_lanes * rows * tile_lanes;
    for (std::size_t row = 0; row < rows; ++row) {
      std::fill(last + row * tile_lanes + samples % tile_lanes, last + (row + 1) * tile_lanes,
                0.0F);
    }
    tiles = masked.data();
  }
  SampleBlock out;
  out.sums = {samples, std::vector<double>(features_.dimension()), std::vector<double>(rows * rows),
              rows};
  for (std::size_t row = 0; row < rows; row += 4) {
    sum_strip(*kernels_, tiles, tiles_for(samples), row, out.sums);
  }
  if (!kernel_) return out;
  std::vector<double> labels;
  for (std::size_t i = 0; i < samples; ++i) {
    labels.push_back(static_cast<double>(model_.label(first + i)));
  }
  out.kernel = kernel_->block(tiles, labels);
  return out;
}

SampleDistances SampleJudge::judge(const float* tiles, std::size_t samples,
                                   std::span<const SampleBlock* const> blocks,
                                   std::size_t threads) const {
  SampleDistances out;
  if (kernel_) {
    std::vector<KernelDistance::Block> parts;
    for (const SampleBlock* block : blocks) parts.push_back(block->kernel);
    out.kernel_distance = kernel_->value(parts);
  }
  std::vector<float> influence(samples);
  if (samples < features_.dimension()) {
    judge_few(tiles, out, influence);
  } else {
    judge_many(tiles, blocks, threads, out, influence);
  }
  out.standard_error = stratified_error(influence, model_.labels());
  return out;
}

void SampleJudge::judge_few(const float* tiles, SampleDistances& out,
                            std::span<float> influence) const {
  const std::size_t dimension = features_.dimension();
  std::vector<double> matrix;
  for (std::size_t i = 0; i < influence.size(); ++i) {
    const float* lane = tiles + i / tile_lanes * features_.rows() * tile_lanes + i % tile_lanes;
    for (std::size_t d = 0; d < dimension; ++d) matrix.push_back(lane[d * tile_lanes]);
  }
  const auto expansion = searched_.expand(matrix);
  out.distance = expansion.distance;
  out.heldout = heldout_.expand(matrix).distance;
  std::transform(expansion.influence.begin(), expansion.influence.end(), influence.begin(),
                 [](double x) { return static_cast<float>(x); });
}

void SampleJudge::judge_many(const float* tiles, std::span<const SampleBlock* const> blocks,
                             std::size_t threads, SampleDistances& out,
                             std::span<float> influence) const {
  const std::size_t dimension = features_.dimension();
  const std::size_t rows = features_.rows();
  MomentSums sums{0, std::vector<double>(dimension), std::vector<double>(rows * rows), rows};
  for (const SampleBlock* block : blocks) merge(block->sums, sums);
  const Moments moments = moments_of(sums);
  FrechetDistance::Expansion expansion;
  parallel_for(threads, 2, [&](std::size_t set, std::size_t) {
    if (set == 0) {
      expansion = searched_.expand(moments);
    } else {
      out.heldout = heldout_.to(moments);
    }
  });
  out.distance = expansion.distance;

  const LinearLayer layer = influence_layer(expansion);
  std::vector<AlignedVector<float>> scratch(threads, AlignedVector<float>(2 * rows * tile_lanes));
  parallel_for(threads, tiles_for(influence.size()), [&](std::size_t tile, std::size_t worker) {
    const std::size_t first = tile * tile_lanes;
    influence_of_tile(*kernels_, layer, moments, tiles + first * rows, influence.size() - first,
                      influence.data() + first, scratch[worker].data(),
                      scratch[worker].data() + rows * tile_lanes);
  });
}

}  // namespace paretod
