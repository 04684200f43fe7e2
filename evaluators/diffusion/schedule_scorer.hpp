#pragma once
// Scores schedules of network calls for one denoiser: sample images along the schedule from
// counter-based noise, and take the Frechet and kernel distances of their features to two sets of
// real images.  Set A is what a search minimises; set B is held out, to show whether it overfits.
//
// Samples are nested: the first n of a block of noise are the same whatever else is asked.  What
// was computed for a schedule is kept, as features and as mergeable statistics of blocks of 480
// samples, so that more samples of it extend what is there.  score() works on a batch with a team
// of threads; its distances depend on nothing but the request, bit for bit: not on the number of
// threads, the other requests, or what was kept (on one kind of processor; simd.hpp has several).
// One thread at a time may call it.
//
//   auto scorer = ScheduleScorer::load("model.json", {.weights = "ema-0.995"}, simd_kernels());
//   scorer->score({{.nodes = {{199}, {599}, {999}}, .samples = 2000}}, threads, {});

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <list>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "evaluators/diffusion/denoiser.hpp"
#include "evaluators/diffusion/model_description.hpp"
#include "evaluators/diffusion/noise.hpp"
#include "evaluators/diffusion/sample_judge.hpp"
#include "evaluators/diffusion/simd.hpp"
#include "evaluators/diffusion/solver.hpp"
#include "optimizers/core/result.hpp"

namespace paretod {

struct ScheduleScorerOptions {
  /// Label of one of the model's files; empty: its last EMA, else its newest checkpoint.
  std::string weights = {};
  std::uint64_t noise_seed = 0;
  bool kernel_distance = true;
  std::size_t cache_bytes = std::size_t{256} << 20;  ///< of features and statistics kept
};

struct ScheduleRequest {
  std::vector<ScheduleNode> nodes;  ///< at least one; distinct times within the schedule
  std::size_t samples = 2000;       ///< 2 .. most_samples
  std::uint64_t replicate = 0;      ///< the block of noise
  double guidance = 1;              ///< anything but 1 needs a model with a null class
};

/// What a schedule takes, per image.
struct ScheduleCost {
  std::size_t calls = 0;     ///< passes through the network
  std::size_t blocks = 0;    ///< blocks run in them
  double multiply_adds = 0;  ///< of the matrices in them
};

struct ScheduleScore : SampleDistances {
  enum class Status {
    ok,
    not_finite,  ///< the network's output overflowed: no distance exists
    cancelled,
  };
  Status status = Status::ok;
  double seconds = 0;  ///< of processor time per image sampled, as measured
};

class ScheduleScorer {
 public:
  /// Bounds the memory of one request.
  static constexpr std::size_t most_samples = 200'000;

  static Result<ScheduleScorer> load(const std::string& model_path,
                                     const ScheduleScorerOptions& options,
                                     const SimdKernels& kernels);
  ScheduleScorer(ScheduleScorer&&) noexcept;
  ~ScheduleScorer();

  [[nodiscard]] const ModelDescription& model() const { return model_; }
  /// Which of the model's files it samples with.
  [[nodiscard]] const std::string& weights() const { return weights_; }
  [[nodiscard]] ScheduleCost cost(const ScheduleRequest& request) const;

  /// One score per request.  `cancelled` is looked at between tiles.
  std::vector<ScheduleScore> score(std::span<const ScheduleRequest> requests, std::size_t threads,
                                   const std::atomic<bool>& cancelled);

  /// Images [samples][pixels] of a request, as they are scored; empty when not finite.
  std::vector<float> images(const ScheduleRequest& request, std::size_t threads);

 private:
  struct Scratch;
  struct Samples;

  ScheduleScorer(ModelDescription model, std::string weights, Denoiser denoiser, SampleJudge judge,
                 const ScheduleScorerOptions& options, const SimdKernels& kernels);

  std::vector<ScheduleScore> score_group(std::span<const ScheduleRequest> requests,
                                         std::size_t threads, const std::atomic<bool>& cancelled);
  /// The kept samples of a schedule, most recently used first; new ones are empty.
  std::shared_ptr<Samples> samples_of(const ScheduleRequest& request);
  void shrink_cache();
  void draw(std::span<const std::shared_ptr<Samples>> all, std::size_t threads,
            const std::atomic<bool>& cancelled);
  bool sample_tile(const ScheduleSampler& sampler, const NoiseBlock& noise, std::size_t tile,
                   Scratch& scratch) const;
  /// Completes blocks and tails of what has been drawn for the requests.
  void summarize(std::span<const ScheduleRequest> requests,
                 std::span<const std::shared_ptr<Samples>> samples, std::size_t threads,
                 std::vector<SampleBlock>& tails) const;
  [[nodiscard]] ScheduleSampler sampler(const ScheduleRequest& request) const;
  void reserve_scratch(std::size_t threads);

  ModelDescription model_;
  std::string weights_;
  std::vector<double> alpha_bar_;
  Denoiser denoiser_;
  SampleJudge judge_;
  const SimdKernels* kernels_;
  NoiseSource noise_;
  std::size_t cache_bytes_;

  std::vector<std::unique_ptr<Scratch>> scratch_;  // one per thread
  std::list<std::shared_ptr<Samples>> cache_;      // most recently used first
};

}  // namespace paretod
