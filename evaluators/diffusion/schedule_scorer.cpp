#include "evaluators/diffusion/schedule_scorer.hpp"

#include <algorithm>
#include <ctime>
#include <limits>
#include <utility>

#include "adapters/safetensors/safetensors.hpp"
#include "evaluators/diffusion/checkpoint_set.hpp"
#include "evaluators/diffusion/influence.hpp"
#include "evaluators/diffusion/parallel.hpp"
#include "evaluators/diffusion/schedule.hpp"
#include "evaluators/diffusion/tiles.hpp"

namespace paretod {
namespace {

constexpr std::size_t noise_cache_bytes = std::size_t{64} << 20;
/// Features of the schedules that are worked on together.
constexpr std::size_t batch_bytes = std::size_t{256} << 20;

/// The wanted file of a model, or else its last EMA, or else its newest checkpoint.
Result<CheckpointFile> weights_of(const ModelDescription& model, const std::string& label) {
  std::vector<CheckpointFile> files = model.checkpoints;
  files.insert(files.end(), model.ema.begin(), model.ema.end());
  if (files.empty()) return invalid("the model names no file with weights");
  if (label.empty()) return files.back();
  std::string known;
  for (const CheckpointFile& file : files) {
    if (file.label == label) return file;
    known += (known.empty() ? "" : ", ") + file.label;
  }
  return invalid("the model has no weights \"" + label + "\"",
                 {{"/weights", "must be one of the model's files: " + known}});
}

/// Reads one checkpoint; the merge of one file is that file.
Result<std::vector<float>> read_weights(const std::string& path, const DenoiserShape& shape,
                                        const SimdKernels& kernels) {
  const auto file = CheckpointSet::load({path}, denoiser_layout(shape), 0);
  if (!file) return file.error();
  std::vector<float> weights(file->stride());
  const float all = 1;
  for (std::size_t block = 0; block < file->blocks(); ++block) {
    file->merge_block(kernels, block, &all, 1, weights.data());
  }
  return weights;
}

/// Equal for requests that draw from one sequence of samples.
std::vector<double> sequence_key(const ScheduleRequest& request) {
  std::vector<double> key = {static_cast<double>(request.replicate), request.guidance};
  for (const ScheduleNode& node : request.nodes) {
    key.push_back(node.time);
    key.push_back(static_cast<double>(node.solver));
    key.insert(key.end(), node.dropped.begin(), node.dropped.end());
  }
  return key;
}

/// How many classes samples are dealt.
std::size_t labels_of(const ModelDescription& model) {
  return model.shape.classes - (model.null_class ? 1 : 0);
}

/// Processor time of this thread, which other load does not distort.
double thread_seconds() {
  std::timespec now{};
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) * 1e-9;
}

std::size_t count_dropped(const ScheduleNode& node) {
  return static_cast<std::size_t>(std::count(node.dropped.begin(), node.dropped.end(), 1));
}

}  // namespace

struct ScheduleScorer::Scratch {
  Scratch(const DenoiserShape& shape, const FeatureNetwork& features)
      : sampler(shape),
        images(padded_rows(shape.pixels) * tile_lanes),
        network(features.scratch_size()),
        centred(features.rows() * tile_lanes),
        change(features.rows() * tile_lanes) {}

  ScheduleSampler::Scratch sampler;
  AlignedVector<float> images, network, centred, change;
};

/// Mergeable statistics of up to block_samples samples.
struct ScheduleScorer::Block {
  MomentSums sums;
  KernelDistance::Block kernel;
};

/// What is known of one schedule on one block of noise.
struct ScheduleScorer::Samples {
  std::vector<double> key;
  std::size_t tiles = 0;          // sampled
  AlignedVector<float> features;  // [tiles][rows][tile_lanes], every lane a sample
  std::vector<Block> blocks;      // of the first tiles / block_tiles whole blocks, as needed
  double seconds = 0;             // that sampling them took
  std::size_t bad_tile = never;   // the first one that is not finite
  static constexpr std::size_t never = std::numeric_limits<std::size_t>::max();

  // While a batch is worked on.
  const ScheduleRequest* request = nullptr;
  std::size_t wanted_tiles = 0;

  [[nodiscard]] std::size_t bytes() const {
    std::size_t total = features.size() * sizeof(float);
    for (const Block& block : blocks) total += block.sums.products.size() * sizeof(double);
    return total;
  }
};

Result<ScheduleScorer> ScheduleScorer::load(const std::string& model_path,
                                            const ScheduleScorerOptions& options,
                                            const SimdKernels& kernels) {
  auto model = read_model_description(model_path);
  if (!model) return model.error();
  const auto file = weights_of(*model, options.weights);
  if (!file) return file.error();
  const auto weights = read_weights(file->path, model->shape, kernels);
  if (!weights) return weights.error();
  Denoiser denoiser(model->shape, kernels);
  denoiser.assign(weights->data());

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

  const std::size_t dimension = features->dimension();
  const std::size_t rows = features->rows();
  std::optional<KernelDistance> kernel;
  if (options.kernel_distance) {
    kernel.emplace(*searched, dimension, rows, labels_of(*model), kernels);
  }
  FrechetDistance to_searched(moments_of(kernels, *searched, dimension, rows));
  FrechetDistance to_heldout(moments_of(kernels, *heldout, dimension, rows));
  return ScheduleScorer(std::move(*model), file->label, std::move(denoiser), std::move(*features),
                        std::move(to_searched), std::move(to_heldout), std::move(kernel), options,
                        kernels);
}

ScheduleScorer::ScheduleScorer(ModelDescription model, std::string weights, Denoiser denoiser,
                               FeatureNetwork features, FrechetDistance searched,
                               FrechetDistance heldout, std::optional<KernelDistance> kernel,
                               const ScheduleScorerOptions& options, const SimdKernels& kernels)
    : model_(std::move(model)),
      weights_(std::move(weights)),
      alpha_bar_(cosine_alpha_bar(model_.timesteps)),
      denoiser_(std::move(denoiser)),
      features_(std::move(features)),
      searched_(std::move(searched)),
      heldout_(std::move(heldout)),
      kernel_(std::move(kernel)),
      kernels_(&kernels),
      noise_(options.noise_seed, model_.shape.pixels, noise_cache_bytes),
      cache_bytes_(options.cache_bytes) {}

ScheduleScorer::ScheduleScorer(ScheduleScorer&&) noexcept = default;
ScheduleScorer::~ScheduleScorer() = default;

std::size_t ScheduleScorer::labels() const {
  return labels_of(model_);
}

std::size_t ScheduleScorer::label(std::size_t sample) const {
  const std::size_t dealt = sample % labels();
  return dealt + (model_.null_class && dealt >= *model_.null_class ? 1 : 0);
}

ScheduleCost ScheduleScorer::cost(const ScheduleRequest& request) const {
  const std::size_t passes = Guidance{request.guidance}.passes();
  ScheduleCost cost;
  for (const ScheduleNode& node : request.nodes) {
    const std::size_t blocks = model_.shape.blocks - count_dropped(node);
    cost.calls += passes;
    cost.blocks += passes * blocks;
    cost.multiply_adds += static_cast<double>(passes) * Denoiser::flops(model_.shape, blocks) / 2;
  }
  return cost;
}

ScheduleSampler ScheduleScorer::sampler(const ScheduleRequest& request) const {
  return {denoiser_, model_.shape, solver_steps(alpha_bar_, request.nodes),
          Guidance{request.guidance, model_.null_class.value_or(0)}, *kernels_};
}

void ScheduleScorer::reserve_scratch(std::size_t threads) {
  while (scratch_.size() < threads) {
    scratch_.push_back(std::make_unique<Scratch>(model_.shape, features_));
  }
}

std::vector<ScheduleScore> ScheduleScorer::score(std::span<const ScheduleRequest> requests,
                                                 std::size_t threads,
                                                 const std::atomic<bool>& cancelled) {
  reserve_scratch(threads);
  std::vector<ScheduleScore> scores;
  for (std::size_t first = 0; first < requests.size();) {
    std::size_t end = first;
    std::size_t bytes = 0;
    for (; end < requests.size(); ++end) {
      bytes += requests[end].samples * features_.rows() * sizeof(float);
      if (end > first && bytes > batch_bytes) break;
    }
    const auto group = score_group(requests.subspan(first, end - first), threads, cancelled);
    scores.insert(scores.end(), group.begin(), group.end());
    first = end;
  }
  return scores;
}

std::shared_ptr<ScheduleScorer::Samples> ScheduleScorer::samples_of(
    const ScheduleRequest& request) {
  std::vector<double> key = sequence_key(request);
  const auto found = std::find_if(cache_.begin(), cache_.end(),
                                  [&key](const auto& samples) { return samples->key == key; });
  if (found != cache_.end()) {
    cache_.splice(cache_.begin(), cache_, found);
  } else {
    cache_.push_front(std::make_shared<Samples>());
    cache_.front()->key = std::move(key);
  }
  return cache_.front();
}

void ScheduleScorer::shrink_cache() {
  std::size_t bytes = 0;
  for (auto samples = cache_.begin(); samples != cache_.end();) {
    bytes += (*samples)->bytes();
    samples = bytes > cache_bytes_ ? cache_.erase(samples) : std::next(samples);
  }
}

bool ScheduleScorer::sample_tile(const ScheduleSampler& sampler, const NoiseBlock& noise,
                                 std::size_t tile, Scratch& scratch) const {
  const std::size_t size = model_.shape.pixels * tile_lanes;
  const float* from = noise.data() + tile * size;
  std::copy(from, from + size, scratch.images.begin());
  std::size_t labels[tile_lanes];
  for (std::size_t lane = 0; lane < tile_lanes; ++lane) {
    labels[lane] = label(tile * tile_lanes + lane);
  }
  return sampler.sample(scratch.images.data(), labels, scratch.sampler);
}

void ScheduleScorer::draw(std::span<const std::shared_ptr<Samples>> all, std::size_t threads,
                          const std::atomic<bool>& cancelled) {
  struct Task {
    std::size_t samples;
    std::size_t tile;
  };
  std::vector<Task> tasks;
  std::vector<ScheduleSampler> samplers;
  std::vector<std::shared_ptr<const NoiseBlock>> noise;
  std::vector<std::atomic<std::size_t>> bad_tiles(all.size());
  const std::size_t tile_size = features_.rows() * tile_lanes;
  for (std::size_t i = 0; i < all.size(); ++i) {
    Samples& samples = *all[i];
    samples.features.resize(std::max(samples.tiles, samples.wanted_tiles) * tile_size);
    samplers.push_back(sampler(*samples.request));
    noise.push_back(
        noise_.block(samples.request->replicate, samples.wanted_tiles * tile_lanes, threads));
    bad_tiles[i] = samples.bad_tile;
    for (std::size_t tile = samples.tiles; tile < samples.wanted_tiles; ++tile) {
      tasks.push_back({i, tile});
    }
  }

  std::vector<double> seconds(tasks.size());
  parallel_for(threads, tasks.size(), [&](std::size_t t, std::size_t worker) {
    const auto [i, tile] = tasks[t];
    // Every tile before the first bad one is sampled, whatever the order.
    if (cancelled || tile > bad_tiles[i]) return;
    Scratch& scratch = *scratch_[worker];
    const double start = thread_seconds();
    const bool finite = sample_tile(samplers[i], *noise[i], tile, scratch);
    seconds[t] = thread_seconds() - start;
    if (!finite) {
      std::size_t known = bad_tiles[i];
      while (tile < known && !bad_tiles[i].compare_exchange_weak(known, tile)) {
      }
      return;
    }
    features_.compute(scratch.images.data(), tile_lanes, all[i]->features.data() + tile * tile_size,
                      scratch.network.data());
  });
  if (cancelled) {
    for (const auto& samples : all) samples->features.resize(samples->tiles * tile_size);
    return;
  }
  for (std::size_t t = 0; t < tasks.size(); ++t) {
    if (tasks[t].tile < bad_tiles[tasks[t].samples]) {
      all[tasks[t].samples]->seconds += seconds[t];
    }
  }
  for (std::size_t i = 0; i < all.size(); ++i) {
    Samples& samples = *all[i];
    samples.bad_tile = bad_tiles[i];
    samples.tiles = std::max(samples.tiles, std::min(samples.wanted_tiles, samples.bad_tile));
    samples.features.resize(samples.tiles * tile_size);
  }
}

void ScheduleScorer::summarize(const float* tiles, std::size_t first, std::size_t samples,
                               Block& block) const {
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
  block.sums = {samples, std::vector<double>(features_.dimension()),
                std::vector<double>(rows * rows), rows};
  for (std::size_t row = 0; row < rows; row += 4) {
    sum_strip(*kernels_, tiles, tiles_for(samples), row, block.sums);
  }
  if (!kernel_) return;
  std::vector<double> labels;
  for (std::size_t i = 0; i < samples; ++i) labels.push_back(static_cast<double>(label(first + i)));
  block.kernel = kernel_->block(tiles, labels);
}

std::vector<ScheduleScore> ScheduleScorer::score_group(std::span<const ScheduleRequest> requests,
                                                       std::size_t threads,
                                                       const std::atomic<bool>& cancelled) {
  std::vector<std::shared_ptr<Samples>> of_request;
  std::vector<std::shared_ptr<Samples>> to_draw;
  for (const ScheduleRequest& request : requests) {
    of_request.push_back(samples_of(request));
    Samples& samples = *of_request.back();
    const std::size_t tiles = tiles_for(request.samples);
    if (tiles <= std::max(samples.tiles, samples.wanted_tiles) || tiles > samples.bad_tile) {
      continue;
    }
    if (samples.wanted_tiles == 0) to_draw.push_back(of_request.back());
    samples.request = &request;
    samples.wanted_tiles = tiles;
  }
  draw(to_draw, threads, cancelled);
  for (const auto& samples : to_draw) {
    samples->request = nullptr;
    samples->wanted_tiles = 0;
  }

  std::vector<ScheduleScore> scores(requests.size());
  if (cancelled) {
    for (ScheduleScore& score : scores) score.status = ScheduleScore::Status::cancelled;
    return scores;
  }

  struct Task {
    const float* tiles;
    std::size_t first;
    std::size_t samples;
    Block* block;
  };
  std::vector<Task> tasks;
  std::vector<Block> tails(requests.size());
  const std::size_t block_size = block_tiles * features_.rows() * tile_lanes;
  // Growing a vector moves its blocks: first all sizes, then the tasks.
  std::vector<std::pair<Samples*, std::size_t>> new_blocks;
  for (std::size_t i = 0; i < requests.size(); ++i) {
    Samples& samples = *of_request[i];
    if (tiles_for(requests[i].samples) > samples.bad_tile) {
      scores[i].status = ScheduleScore::Status::not_finite;
      continue;
    }
    const std::size_t whole = requests[i].samples / block_samples;
    for (std::size_t b = samples.blocks.size(); b < whole; ++b) new_blocks.push_back({&samples, b});
    samples.blocks.resize(std::max(samples.blocks.size(), whole));
    if (const std::size_t rest = requests[i].samples % block_samples; rest > 0) {
      tasks.push_back(
          {samples.features.data() + whole * block_size, whole * block_samples, rest, &tails[i]});
    }
  }
  for (const auto& [samples, b] : new_blocks) {
    tasks.push_back({samples->features.data() + b * block_size, b * block_samples, block_samples,
                     &samples->blocks[b]});
  }
  parallel_for(threads, tasks.size(), [&](std::size_t t, std::size_t) {
    summarize(tasks[t].tiles, tasks[t].first, tasks[t].samples, *tasks[t].block);
  });
  for (std::size_t i = 0; i < requests.size(); ++i) {
    if (scores[i].status == ScheduleScore::Status::ok) {
      measure(requests[i], *of_request[i], tails[i], threads, scores[i]);
    }
  }
  shrink_cache();
  return scores;
}

void ScheduleScorer::measure(const ScheduleRequest& request, const Samples& samples,
                             const Block& tail, std::size_t threads, ScheduleScore& score) {
  const std::size_t dimension = features_.dimension();
  const std::size_t rows = features_.rows();
  const std::size_t whole = request.samples / block_samples;
  MomentSums sums{0, std::vector<double>(dimension), std::vector<double>(rows * rows), rows};
  std::vector<KernelDistance::Block> kernel_blocks;
  for (std::size_t b = 0; b < whole; ++b) {
    merge(samples.blocks[b].sums, sums);
    kernel_blocks.push_back(samples.blocks[b].kernel);
  }
  if (request.samples % block_samples > 0) {
    merge(tail.sums, sums);
    kernel_blocks.push_back(tail.kernel);
  }
  if (kernel_) score.kernel_distance = kernel_->value(kernel_blocks);
  score.seconds = samples.seconds / static_cast<double>(samples.tiles * tile_lanes);

  std::vector<float> influence(request.samples);
  if (request.samples < dimension) {
    std::vector<double> matrix(request.samples * dimension);
    for (std::size_t i = 0; i < request.samples; ++i) {
      const float* lane =
          samples.features.data() + i / tile_lanes * rows * tile_lanes + i % tile_lanes;
      for (std::size_t d = 0; d < dimension; ++d) matrix[i * dimension + d] = lane[d * tile_lanes];
    }
    const auto expansion = searched_.expand(matrix);
    score.distance = expansion.distance;
    score.heldout = heldout_.expand(matrix).distance;
    std::copy(expansion.influence.begin(), expansion.influence.end(), influence.begin());
  } else {
    const Moments moments = moments_of(sums);
    FrechetDistance::Expansion expansion;
    parallel_for(threads, 2, [&](std::size_t set, std::size_t) {
      if (set == 0) {
        expansion = searched_.expand(moments);
      } else {
        score.heldout = heldout_.to(moments);
      }
    });
    score.distance = expansion.distance;
    const LinearLayer layer = influence_layer(expansion);
    parallel_for(threads, tiles_for(request.samples), [&](std::size_t tile, std::size_t worker) {
      const std::size_t first = tile * tile_lanes;
      influence_of_tile(*kernels_, layer, moments,
                        samples.features.data() + tile * rows * tile_lanes, request.samples - first,
                        influence.data() + first, scratch_[worker]->centred.data(),
                        scratch_[worker]->change.data());
    });
  }
  score.standard_error = stratified_error(influence, labels());
}

std::vector<float> ScheduleScorer::images(const ScheduleRequest& request, std::size_t threads) {
  reserve_scratch(threads);
  const std::size_t pixels = model_.shape.pixels;
  const ScheduleSampler along = sampler(request);
  const auto noise = noise_.block(request.replicate, request.samples, threads);
  std::vector<float> images(request.samples * pixels);
  std::atomic<bool> finite = true;
  parallel_for(threads, tiles_for(request.samples), [&](std::size_t tile, std::size_t worker) {
    Scratch& scratch = *scratch_[worker];
    if (!sample_tile(along, *noise, tile, scratch)) {
      finite = false;
      return;
    }
    const std::size_t first = tile * tile_lanes;
    for (std::size_t i = first; i < std::min(first + tile_lanes, request.samples); ++i) {
      for (std::size_t p = 0; p < pixels; ++p) {
        images[i * pixels + p] = scratch.images[p * tile_lanes + i - first];
      }
    }
  });
  if (!finite) images.clear();
  return images;
}

}  // namespace paretod
