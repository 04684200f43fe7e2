#pragma once
// The native checkpoint evaluator ("type": "diffusion"): a job searches the coefficients that
// combine the saved checkpoints of one diffusion training run (LCSC), scored by the Frechet
// distance of few-step samples.  What it computes is in checkpoint_scorer.hpp; this is its face to
// the daemon.
//
// Declares one affine parameter "alpha" with a coefficient per checkpoint, the objective "fd"
// (minimise), the metric "fd_heldout" (distance to images that no search sees), and fidelity in
// images.  The noise depends on the configuration and the candidate's replicate, never on the
// job, so that jobs can be compared.  A candidate whose network overflows is infeasible.  A
// candidate's weights are had from its recipe (evaluators/merge/merge_recipe.hpp).

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "evaluators/diffusion/checkpoint_scorer.hpp"
#include "evaluators/evaluator.hpp"
#include "evaluators/in_process.hpp"

namespace paretod {

/// The configuration block of one diffusion evaluator.
struct DiffusionConfig {
  std::string model;
  std::int64_t steps = 5;
  std::int64_t samples = 2000;
  std::int64_t noise_seed = 0;
  bool include_ema = true;
  std::int64_t slots = 0;
};

class DiffusionEvaluator final : public InProcessEvaluator {
 public:
  /// Loads the model; relative paths count from environment.base_directory.
  static Result<std::unique_ptr<Evaluator>> create(const DiffusionConfig& config,
                                                   const EvaluatorEnvironment& environment);
  ~DiffusionEvaluator() override;

  [[nodiscard]] EvaluatorDescription describe() const override { return description_; }
  [[nodiscard]] Problems check(const EvaluationContext& context) const override;
  /// Linear, of the checkpoints as they are; in float32, as it was scored.
  [[nodiscard]] Result<std::string> recipe(const EvaluationContext& context,
                                           const Candidate& candidate) const override;

 private:
  DiffusionEvaluator(CheckpointScorer scorer, EvaluatorDescription description, std::size_t threads,
                     std::size_t batch);

  [[nodiscard]] std::size_t largest_batch(const EvaluationContext&) const override {
    return batch_;
  }
  std::vector<Outcome> evaluate_batch(std::span<const EvaluationRequest> requests) override;

  const EvaluatorDescription description_;
  const std::size_t threads_;
  const std::size_t batch_;
  CheckpointScorer scorer_;  // used by the one worker thread
  std::atomic<bool> stopping_{false};
};

EvaluatorType diffusion_evaluator_type();

}  // namespace paretod
