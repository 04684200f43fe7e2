#pragma once
// Scores merges of checkpoints: combine K checkpoints by coefficients, sample images with few-step
// DDIM from counter-based noise, and take the Frechet distance of their features to two sets of
// real images.  Set A is what a search minimises; set B is held out, to show whether it overfits.
//
// score() works on a batch with a team of threads.  Its results depend on nothing but the request:
// not on the number of threads, not on the other requests of the batch, bit for bit (on one kind
// of processor; simd.hpp has several).  One thread at a time may call it.
//
//   auto scorer = CheckpointScorer::load("model.json", {}, simd_kernels());
//   scorer->score({{.coefficients = alpha, .samples = 2000, .replicate = 0}}, threads, {});

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "evaluators/diffusion/aligned.hpp"
#include "evaluators/diffusion/checkpoint_set.hpp"
#include "evaluators/diffusion/denoiser.hpp"
#include "evaluators/diffusion/feature_network.hpp"
#include "evaluators/diffusion/frechet.hpp"
#include "evaluators/diffusion/model_description.hpp"
#include "evaluators/diffusion/noise.hpp"
#include "evaluators/diffusion/schedule.hpp"
#include "evaluators/diffusion/simd.hpp"
#include "optimizers/core/result.hpp"

namespace paretod {

struct ScorerOptions {
  std::size_t steps = 5;  ///< DDIM steps, evenly spaced
  std::uint64_t noise_seed = 0;
  bool include_ema = true;  ///< EMA files of the model become columns too
};

struct ScoreRequest {
  std::vector<double> coefficients;  ///< one per column, in order; they sum to one
  std::size_t samples = 2000;        ///< 2 .. most_samples
  std::uint64_t replicate = 0;       ///< the block of noise
};

struct Score {
  enum class Status {
    ok,
    not_finite,  ///< the network's output overflowed: no distance exists
    cancelled,
  };
  Status status = Status::ok;
  double distance = 0;        ///< to A
  double standard_error = 0;  ///< of `distance`, over noise: delta method, stratified by label
  double heldout = 0;         ///< distance to B
};

class CheckpointScorer {
 public:
  /// Bounds the memory of one request.
  static constexpr std::size_t most_samples = 200'000;

  static Result<CheckpointScorer> load(const std::string& model_path, const ScorerOptions& options,
                                       const SimdKernels& kernels);

  CheckpointScorer(CheckpointScorer&&) noexcept;
  ~CheckpointScorer();

  /// Raw checkpoints by iteration, then EMA columns.
  [[nodiscard]] const std::vector<CheckpointFile>& columns() const { return columns_; }
  [[nodiscard]] const DenoiserShape& shape() const { return shape_; }
  /// Floating-point operations of one score, of its sampling and features alone: what GEMM does.
  [[nodiscard]] double flops(std::size_t samples) const;

  /// One score per request.  `cancelled` is looked at between tiles.
  std::vector<Score> score(std::span<const ScoreRequest> requests, std::size_t threads,
                           const std::atomic<bool>& cancelled);

  /// The parts of score(), for tests and measurements.
  [[nodiscard]] const CheckpointSet& checkpoints() const { return checkpoints_; }
  [[nodiscard]] const std::vector<DdimStep>& steps() const { return steps_; }
  [[nodiscard]] const FeatureNetwork& features() const { return features_; }
  /// As score() for one request, but from given noise [tiles][pixels][tile_lanes].
  Score score_noise(const ScoreRequest& request, std::shared_ptr<const NoiseBlock> noise,
                    std::size_t threads);

 private:
  CheckpointScorer(ModelDescription model, std::vector<CheckpointFile> columns,
                   CheckpointSet checkpoints, FeatureNetwork features, FrechetDistance searched,
                   FrechetDistance heldout, const ScorerOptions& options,
                   const SimdKernels& kernels);

  /// Working memory of one candidate of a batch.
  struct Candidate {
    explicit Candidate(Denoiser d) : denoiser(std::move(d)) {}
    Denoiser denoiser;
    std::size_t samples = 0;
    std::shared_ptr<const NoiseBlock> noise;
    AlignedVector<float> features;  // [tiles][rows][tile_lanes]
    std::atomic<bool> finite{true};
    MomentSums sums;
    std::vector<float> influence;  // per sample
  };

  std::vector<Score> score_group(std::span<const ScoreRequest> requests,
                                 std::span<const std::shared_ptr<const NoiseBlock>> noise,
                                 std::size_t threads, const std::atomic<bool>& cancelled);
  void merge(std::span<const ScoreRequest> requests, std::size_t threads);
  void sample_tile(Candidate& candidate, std::size_t tile, std::size_t worker);
  void influence_tile(Candidate& candidate, const Moments& moments, const LinearLayer& expansion,
                      std::size_t tile, std::size_t worker);

  DenoiserShape shape_;
  std::vector<CheckpointFile> columns_;
  CheckpointSet checkpoints_;
  FeatureNetwork features_;
  FrechetDistance searched_;
  FrechetDistance heldout_;
  std::vector<DdimStep> steps_;
  const SimdKernels* kernels_;
  NoiseSource noise_;

  struct Scratch;
  std::vector<std::unique_ptr<Scratch>> scratch_;       // one per thread
  std::vector<std::unique_ptr<Candidate>> candidates_;  // reused from batch to batch
  AlignedVector<float> merged_;
};

}  // namespace paretod
