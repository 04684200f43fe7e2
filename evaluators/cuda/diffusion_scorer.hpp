#pragma once
// Scores candidates of a diffusion model on the GPU: merges of its checkpoints by coefficients,
// schedules of network calls with dropped blocks, or both, by the Frechet distance of few-step
// samples to two sets of real images.  The counterpart of evaluators/diffusion's CheckpointScorer
// and ScheduleScorer: same noise, same arithmetic, distances equal to rounding.
//
// Checkpoints stay on the device.  A batch is merged in one pass, sampled and turned into moments
// there; the two eigenproblems of each candidate are solved on the processor, in double, by a team
// of threads.  Results depend on the request alone, bit for bit on one kind of device.
//
// A CheckpointArena may be shared by scorers on one device; a scorer is used by one thread at a
// time.  CudaError when the device fails.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "evaluators/cuda/denoiser_batch.hpp"
#include "evaluators/cuda/merge_plan.hpp"
#include "evaluators/diffusion/frechet.hpp"
#include "evaluators/diffusion/model_description.hpp"
#include "optimizers/core/result.hpp"

namespace paretod::cuda {

/// Everything of a model that does not change: on the device its checkpoints, flat and as they are
/// stored (float16, or float32 for any other dtype).
struct DiffusionModel {
  ModelDescription description;
  std::vector<CheckpointFile> columns;  ///< raw checkpoints by iteration, then EMA files
  std::size_t reference = 0;            ///< the newest raw one
  std::size_t parameters = 0;
  Stored stored = Stored::f32;
  DeviceBuffer<std::uint8_t> checkpoints;  ///< [column][row_bytes]
  std::size_t row_bytes = 0;               ///< parameters, rounded up to 256 bytes
  FeatureWeights features;
  std::vector<double> alpha_bar;
  std::optional<FrechetDistance> searched, heldout;

  /// Errors name the file and the tensor.
  static Result<std::shared_ptr<const DiffusionModel>> load(const std::string& path,
                                                            bool include_ema);
  [[nodiscard]] const void* row(std::size_t column) const {
    return checkpoints.data() + column * row_bytes;
  }
};

struct DiffusionRequest {
  std::vector<double> coefficients;  ///< one per column; they sum to one
  std::vector<ScheduleNode> nodes;   ///< at least one, of distinct times
  std::size_t samples = 2000;        ///< 2 .. most_samples
  std::uint64_t replicate = 0;       ///< the block of noise
};

struct DiffusionScore {
  bool finite = true;
  double distance = 0;        ///< to A
  double standard_error = 0;  ///< of it, over noise: infinitesimal jackknife, by label
  double heldout = 0;         ///< to B
};

/// Where the time of score() went, in seconds since the scorer was made.
struct DiffusionTimes {
  double device = 0;  ///< waiting for it
  double eigen = 0;   ///< wall time of the eigenproblems
  std::uint64_t candidates = 0;
};

class DiffusionScorer {
 public:
  static constexpr std::size_t most_samples = 200'000;
  static constexpr std::size_t most_candidates = 64;

  /// `batch`: candidates that are worked on together, most_candidates at most.
  DiffusionScorer(std::shared_ptr<const DiffusionModel> model, std::uint64_t noise_seed,
                  std::size_t batch, std::size_t threads);

  /// One score per request, in batches.
  std::vector<DiffusionScore> score(std::span<const DiffusionRequest> requests);
  [[nodiscard]] const DiffusionTimes& times() const { return times_; }
  /// Bytes on the device that each candidate of a batch takes.
  static std::uint64_t bytes_per_candidate(const DiffusionModel& model, std::size_t samples);

 private:
  void score_batch(std::span<const DiffusionRequest> requests, std::span<DiffusionScore> scores);

  std::shared_ptr<const DiffusionModel> model_;
  std::size_t batch_;
  std::size_t threads_;
  DenoiserBatch denoisers_;
  std::size_t stride_;  ///< between merged weights
  DeviceBuffer<float> merged_;
  std::optional<MergePlan> plan_;
  DiffusionTimes times_;
};

}  // namespace paretod::cuda
