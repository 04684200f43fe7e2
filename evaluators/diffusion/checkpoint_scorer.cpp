#include "evaluators/diffusion/checkpoint_scorer.hpp"

#include <algorithm>
#include <utility>

#include "adapters/safetensors/safetensors.hpp"
#include "evaluators/diffusion/influence.hpp"
#include "evaluators/diffusion/parallel.hpp"
#include "evaluators/diffusion/reference_images.hpp"
#include "evaluators/diffusion/tiles.hpp"

namespace paretod {
namespace {

/// Noise of some 20 blocks of 10,000 samples.
constexpr std::size_t noise_cache_bytes = std::size_t{64} << 20;
/// Features of the candidates that are worked on together.
constexpr std::size_t batch_bytes = std::size_t{256} << 20;

}  // namespace

struct CheckpointScorer::Scratch {
  Scratch(const DenoiserShape& shape, const FeatureNetwork& features)
      : denoiser(shape),
        images(padded_rows(shape.pixels) * tile_lanes),
        network(features.scratch_size()),
        centred(features.rows() * tile_lanes),
        change(features.rows() * tile_lanes) {}

  Denoiser::Scratch denoiser;
  AlignedVector<float> images, network, centred, change;
};

Result<CheckpointScorer> CheckpointScorer::load(const std::string& model_path,
                                                const ScorerOptions& options,
                                                const SimdKernels& kernels) {
  auto model = read_model_description(model_path);
  if (!model) return model.error();
  if (options.steps < 1 || options.steps > model->timesteps) {
    return invalid(model_path + ": " + std::to_string(options.steps) +
                       " steps do not fit its schedule of " + std::to_string(model->timesteps),
                   {{"/steps", "must lie between 1 and " + std::to_string(model->timesteps)}});
  }
  std::vector<CheckpointFile> columns = model->checkpoints;
  if (options.include_ema) {
    columns.insert(columns.end(), model->ema.begin(), model->ema.end());
  }
  if (columns.size() < 2) {
    return invalid(model_path + ": " + std::to_string(columns.size()) +
                   " checkpoints; a combination needs at least 2");
  }
  // The newest raw checkpoint, as in Parameter::reference().
  std::size_t reference = columns.size() - 1;
  if (!model->checkpoints.empty()) reference = model->checkpoints.size() - 1;

  std::vector<std::string> paths;
  for (const CheckpointFile& column : columns) paths.push_back(column.path);
  auto checkpoints = CheckpointSet::load(paths, denoiser_layout(model->shape), reference);
  if (!checkpoints) return checkpoints.error();

  const auto feature_file = SafetensorsFile::open(model->features);
  if (!feature_file) return feature_file.error();
  auto features = FeatureNetwork::load(*feature_file, model->shape.pixels,
                                       static_cast<float>(model->pixel_weight), kernels);
  if (!features) return features.error();
  const auto images = SafetensorsFile::open(model->reference);
  if (!images) return images.error();
  const auto searched = reference_features(*images, "a", *features, model->shape.pixels);
  if (!searched) return searched.error();
  const auto heldout = reference_features(*images, "b", *features, model->shape.pixels);
  if (!heldout) return heldout.error();
  const auto distance_to = [&](const ImageFeatures& real) {
    return FrechetDistance(moments_of(kernels, real, features->dimension(), features->rows()));
  };
  FrechetDistance to_searched = distance_to(*searched);
  FrechetDistance to_heldout = distance_to(*heldout);

  return CheckpointScorer(std::move(*model), std::move(columns), std::move(*checkpoints),
                          std::move(*features), std::move(to_searched), std::move(to_heldout),
                          options, kernels);
}

CheckpointScorer::CheckpointScorer(ModelDescription model, std::vector<CheckpointFile> columns,
                                   CheckpointSet checkpoints, FeatureNetwork features,
                                   FrechetDistance searched, FrechetDistance heldout,
                                   const ScorerOptions& options, const SimdKernels& kernels)
    : shape_(model.shape),
      columns_(std::move(columns)),
      checkpoints_(std::move(checkpoints)),
      features_(std::move(features)),
      searched_(std::move(searched)),
      heldout_(std::move(heldout)),
      steps_(ddim_steps(cosine_alpha_bar(model.timesteps),
                        uniform_times(model.timesteps, options.steps))),
      kernels_(&kernels),
      noise_(options.noise_seed, model.shape.pixels, noise_cache_bytes) {}

CheckpointScorer::CheckpointScorer(CheckpointScorer&&) noexcept = default;
CheckpointScorer::~CheckpointScorer() = default;

double CheckpointScorer::flops(std::size_t samples) const {
  return static_cast<double>(samples) *
         (static_cast<double>(steps_.size()) * Denoiser::flops(shape_) + features_.flops());
}

std::vector<Score> CheckpointScorer::score(std::span<const ScoreRequest> requests,
                                           std::size_t threads,
                                           const std::atomic<bool>& cancelled) {
  std::vector<Score> scores;
  std::vector<std::shared_ptr<const NoiseBlock>> noise;
  for (std::size_t first = 0; first < requests.size();) {
    std::size_t end = first;
    std::size_t bytes = 0;
    noise.clear();
    for (; end < requests.size(); ++end) {
      bytes += requests[end].samples * features_.rows() * sizeof(float);
      if (end > first && bytes > batch_bytes) break;
      noise.push_back(noise_.block(requests[end].replicate, requests[end].samples, threads));
    }
    for (Score& score :
         score_group(requests.subspan(first, end - first), noise, threads, cancelled)) {
      scores.push_back(score);
    }
    first = end;
  }
  return scores;
}

Score CheckpointScorer::score_noise(const ScoreRequest& request,
                                    std::shared_ptr<const NoiseBlock> noise, std::size_t threads) {
  const std::atomic<bool> never{false};
  return score_group({&request, 1}, {&noise, 1}, threads, never).front();
}

void CheckpointScorer::merge(std::span<const ScoreRequest> requests, std::size_t threads) {
  std::vector<float> coefficients;
  for (const ScoreRequest& request : requests) {
    coefficients.insert(coefficients.end(), request.coefficients.begin(),
                        request.coefficients.end());
  }
  merged_.resize(requests.size() * checkpoints_.stride());
  parallel_for(threads, checkpoints_.blocks(), [&](std::size_t block, std::size_t) {
    checkpoints_.merge_block(*kernels_, block, coefficients.data(), requests.size(),
                             merged_.data());
  });
}

std::vector<Score> CheckpointScorer::score_group(
    std::span<const ScoreRequest> requests,
    std::span<const std::shared_ptr<const NoiseBlock>> noise, std::size_t threads,
    const std::atomic<bool>& cancelled) {
  const std::size_t batch = requests.size();
  const std::size_t dimension = features_.dimension();
  const std::size_t rows = features_.rows();
  while (scratch_.size() < threads) {
    scratch_.push_back(std::make_unique<Scratch>(shape_, features_));
  }
  while (candidates_.size() < batch) {
    candidates_.push_back(std::make_unique<Candidate>(Denoiser(shape_, *kernels_)));
  }
  std::vector<std::pair<std::size_t, std::size_t>> tiles;  // (candidate, tile)
  for (std::size_t c = 0; c < batch; ++c) {
    Candidate& candidate = *candidates_[c];
    candidate.samples = requests[c].samples;
    candidate.noise = noise[c];
    candidate.finite = true;
    candidate.features.resize(tiles_for(candidate.samples) * rows * tile_lanes);
    candidate.influence.resize(candidate.samples);
    candidate.sums.count = candidate.samples;
    candidate.sums.sum.resize(dimension);
    candidate.sums.products.resize(rows * rows);
    candidate.sums.stride = rows;
    for (std::size_t t = 0; t < tiles_for(candidate.samples); ++t) tiles.emplace_back(c, t);
  }

  merge(requests, threads);
  parallel_for(threads, batch, [&](std::size_t c, std::size_t) {
    candidates_[c]->denoiser.assign(merged_.data() + c * checkpoints_.stride(), steps_);
  });
  parallel_for(threads, tiles.size(), [&](std::size_t i, std::size_t worker) {
    Candidate& candidate = *candidates_[tiles[i].first];
    if (!cancelled && candidate.finite) sample_tile(candidate, tiles[i].second, worker);
  });

  std::vector<Score> scores(batch);
  if (cancelled) {
    for (Score& score : scores) score.status = Score::Status::cancelled;
    return scores;
  }
  for (std::size_t c = 0; c < batch; ++c) {
    if (!candidates_[c]->finite) scores[c].status = Score::Status::not_finite;
  }

  const std::size_t strips = rows / 4;
  parallel_for(threads, batch * strips, [&](std::size_t i, std::size_t) {
    Candidate& candidate = *candidates_[i / strips];
    if (!candidate.finite) return;
    sum_strip(*kernels_, candidate.features.data(), tiles_for(candidate.samples), i % strips * 4,
              candidate.sums);
  });
  std::vector<Moments> moments(batch);
  for (std::size_t c = 0; c < batch; ++c) {
    if (candidates_[c]->finite) moments[c] = moments_of(candidates_[c]->sums);
  }

  std::vector<LinearLayer> expansions(batch, LinearLayer(dimension, dimension));
  parallel_for(threads, 2 * batch, [&](std::size_t i, std::size_t) {
    const std::size_t c = i / 2;
    if (!candidates_[c]->finite) return;
    if (i % 2 != 0) {
      scores[c].heldout = heldout_.to(moments[c]);
      return;
    }
    const auto expansion = searched_.expand(moments[c]);
    scores[c].distance = expansion.distance;
    expansions[c] = influence_layer(expansion);
  });
  parallel_for(threads, tiles.size(), [&](std::size_t i, std::size_t worker) {
    const std::size_t c = tiles[i].first;
    if (!candidates_[c]->finite) return;
    influence_tile(*candidates_[c], moments[c], expansions[c], tiles[i].second, worker);
  });
  for (std::size_t c = 0; c < batch; ++c) {
    if (candidates_[c]->finite) {
      scores[c].standard_error = stratified_error(candidates_[c]->influence, shape_.classes);
    }
  }
  return scores;
}

void CheckpointScorer::sample_tile(Candidate& candidate, std::size_t tile, std::size_t worker) {
  Scratch& scratch = *scratch_[worker];
  const std::size_t size = shape_.pixels * tile_lanes;
  const float* noise = candidate.noise->data() + tile * size;
  std::copy(noise, noise + size, scratch.images.begin());
  std::size_t labels[tile_lanes];
  for (std::size_t lane = 0; lane < tile_lanes; ++lane) {
    labels[lane] = (tile * tile_lanes + lane) % shape_.classes;
  }
  if (!candidate.denoiser.sample(scratch.images.data(), labels, scratch.denoiser)) {
    candidate.finite = false;
    return;
  }
  features_.compute(
      scratch.images.data(), std::min(tile_lanes, candidate.samples - tile * tile_lanes),
      candidate.features.data() + tile * features_.rows() * tile_lanes, scratch.network.data());
}

void CheckpointScorer::influence_tile(Candidate& candidate, const Moments& moments,
                                      const LinearLayer& expansion, std::size_t tile,
                                      std::size_t worker) {
  Scratch& scratch = *scratch_[worker];
  const std::size_t first = tile * tile_lanes;
  influence_of_tile(*kernels_, expansion, moments,
                    candidate.features.data() + tile * features_.rows() * tile_lanes,
                    candidate.samples - first, candidate.influence.data() + first,
                    scratch.centred.data(), scratch.change.data());
}

}  // namespace paretod
