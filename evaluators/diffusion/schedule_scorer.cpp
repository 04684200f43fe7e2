#include "evaluators/diffusion/schedule_scorer.hpp"

#include <algorithm>
#include <ctime>
#include <limits>
#include <utility>

#include "evaluators/diffusion/checkpoint_set.hpp"
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
        network(features.scratch_size()) {}

  ScheduleSampler::Scratch sampler;
  AlignedVector<float> images, network;
};

/// What is known of one schedule on one block of noise.
struct ScheduleScorer::Samples {
  std::vector<double> key;
  std::size_t tiles = 0;            // sampled
  AlignedVector<float> features;    // [tiles][rows][tile_lanes], every lane a sample
  std::vector<SampleBlock> blocks;  // of its first whole blocks, as far as they were asked for
  double seconds = 0;               // that sampling them took
  std::size_t bad_tile = never;     // the first one that is not finite
  static constexpr std::size_t never = std::numeric_limits<std::size_t>::max();

  // While a batch is worked on.
  const ScheduleRequest* request = nullptr;
  std::size_t wanted_tiles = 0;

  [[nodiscard]] std::size_t bytes() const {
    std::size_t total = features.size() * sizeof(float);
    for (const SampleBlock& block : blocks) total += block.sums.products.size() * sizeof(double);
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

  auto judge = SampleJudge::load(*model, options.kernel_distance, kernels);
  if (!judge) return judge.error();
  return ScheduleScorer(std::move(*model), file->label, std::move(denoiser), std::move(*judge),
                        options, kernels);
}

ScheduleScorer::ScheduleScorer(ModelDescription model, std::string weights, Denoiser denoiser,
                               SampleJudge judge, const ScheduleScorerOptions& options,
                               const SimdKernels& kernels)
    : model_(std::move(model)),
      weights_(std::move(weights)),
      alpha_bar_(cosine_alpha_bar(model_.timesteps)),
      denoiser_(std::move(denoiser)),
      judge_(std::move(judge)),
      kernels_(&kernels),
      noise_(options.noise_seed, model_.shape.pixels, noise_cache_bytes),
      cache_bytes_(options.cache_bytes) {}

ScheduleScorer::ScheduleScorer(ScheduleScorer&&) noexcept = default;
ScheduleScorer::~ScheduleScorer() = default;

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
    scratch_.push_back(std::make_unique<Scratch>(model_.shape, judge_.features()));
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
      bytes += requests[end].samples * judge_.features().rows() * sizeof(float);
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
    labels[lane] = model_.label(tile * tile_lanes + lane);
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
  const std::size_t tile_size = judge_.features().rows() * tile_lanes;
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
    judge_.features().compute(scratch.images.data(), tile_lanes,
                              all[i]->features.data() + tile * tile_size, scratch.network.data());
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

  for (std::size_t i = 0; i < requests.size(); ++i) {
    if (tiles_for(requests[i].samples) > of_request[i]->bad_tile) {
      scores[i].status = ScheduleScore::Status::not_finite;
    }
  }
  std::vector<SampleBlock> tails(requests.size());
  summarize(requests, of_request, threads, tails);
  for (std::size_t i = 0; i < requests.size(); ++i) {
    if (scores[i].status != ScheduleScore::Status::ok) continue;
    const Samples& samples = *of_request[i];
    std::vector<const SampleBlock*> blocks;
    for (std::size_t b = 0; b < requests[i].samples / block_samples; ++b) {
      blocks.push_back(&samples.blocks[b]);
    }
    if (requests[i].samples % block_samples > 0) blocks.push_back(&tails[i]);
    static_cast<SampleDistances&>(scores[i]) =
        judge_.judge(samples.features.data(), requests[i].samples, blocks, threads);
    scores[i].seconds = samples.seconds / static_cast<double>(samples.tiles * tile_lanes);
  }
  shrink_cache();
  return scores;
}

void ScheduleScorer::summarize(std::span<const ScheduleRequest> requests,
                               std::span<const std::shared_ptr<Samples>> samples,
                               std::size_t threads, std::vector<SampleBlock>& tails) const {
  struct Task {
    const Samples* samples;
    std::size_t first;
    std::size_t count;
    SampleBlock* block;
  };
  // Growing a vector moves its blocks: first all sizes, then the tasks.
  std::vector<std::pair<Samples*, std::size_t>> new_blocks;
  std::vector<Task> tasks;
  for (std::size_t i = 0; i < requests.size(); ++i) {
    Samples& all = *samples[i];
    if (tiles_for(requests[i].samples) > all.bad_tile) continue;
    const std::size_t whole = requests[i].samples / block_samples;
    for (std::size_t b = all.blocks.size(); b < whole; ++b) new_blocks.push_back({&all, b});
    all.blocks.resize(std::max(all.blocks.size(), whole));
    const std::size_t rest = requests[i].samples % block_samples;
    if (rest > 0) tasks.push_back({&all, whole * block_samples, rest, &tails[i]});
  }
  for (const auto& [all, b] : new_blocks) {
    tasks.push_back({all, b * block_samples, block_samples, &all->blocks[b]});
  }
  const std::size_t rows = judge_.features().rows();
  parallel_for(threads, tasks.size(), [&](std::size_t t, std::size_t) {
    const Task& task = tasks[t];
    *task.block =
        judge_.block(task.samples->features.data() + task.first * rows, task.first, task.count);
  });
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
