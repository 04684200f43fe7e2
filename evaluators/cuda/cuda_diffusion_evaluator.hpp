#pragma once
// The diffusion evaluators on a GPU, for a process of their own (cuda_evaluator.cpp): searches the
// coefficients that combine checkpoints ("search": "checkpoints", LCSC) or the times and dropped
// blocks of network calls ("schedule", AutoDiffusion).  Spaces, objectives, metrics and noise are
// those of the evaluators "diffusion" and "diffusion-schedule", so that a job runs on either; what
// is not here is guidance, "kid" and cost in seconds.
//
// Several batches are under way at once, so that the device works while eigenproblems are solved.
// A fault of the device ends the process: CUDA does not recover from it, and the daemon starts
// another one.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <vector>

#include "evaluators/cuda/diffusion_scorer.hpp"
#include "evaluators/diffusion/schedule_evaluator.hpp"
#include "evaluators/evaluator.hpp"
#include "evaluators/in_process.hpp"

namespace paretod::cuda {

/// The program's arguments.  What only one of the searches has is the other's no matter.
struct CudaDiffusionConfig {
  std::string model;
  std::string search = "checkpoints";
  std::int64_t steps = 5;
  bool include_ema = true;
  std::string weights;
  std::int64_t least_steps = 1;
  std::int64_t most_steps = 10;
  std::string nodes = "whole";
  std::vector<std::string> solvers = {"ddim"};
  std::vector<std::string> droppable;
  std::string cost = "none";
  std::int64_t samples = 2000;
  std::int64_t noise_seed = 0;
  std::vector<std::string> devices = {"0"};
  std::int64_t memory_mb = 0;
  std::int64_t batch = 0;
  std::int64_t batches = 2;
  std::int64_t threads = 0;
};

class CudaDiffusionEvaluator final : public InProcessEvaluator {
 public:
  /// On the current device.
  static Result<std::unique_ptr<Evaluator>> create(const CudaDiffusionConfig& config, int device);
  ~CudaDiffusionEvaluator() override;

  [[nodiscard]] EvaluatorDescription describe() const override { return description_; }
  [[nodiscard]] Problems check(const EvaluationContext& context) const override;

 private:
  CudaDiffusionEvaluator(std::shared_ptr<const DiffusionModel> model, CudaDiffusionConfig config,
                         EvaluatorDescription description, std::vector<double> one_hot, int device,
                         std::size_t batch, std::size_t threads);

  [[nodiscard]] std::size_t largest_batch(const EvaluationContext&) const override {
    return batch_;
  }
  std::vector<Outcome> evaluate_batch(std::span<const EvaluationRequest> requests) override;
  [[nodiscard]] Result<DiffusionRequest> request_for(const EvaluationRequest& request) const;
  [[nodiscard]] Outcome outcome_of(const DiffusionRequest& request, const DiffusionScore& score,
                                   const std::vector<Objective>& objectives) const;
  std::unique_ptr<DiffusionScorer> take_scorer();

  const std::shared_ptr<const DiffusionModel> model_;
  const CudaDiffusionConfig config_;
  const ScheduleConfig schedule_;
  std::vector<double> one_hot_;  ///< schedule: the coefficients that name its weights
  const EvaluatorDescription description_;
  const int device_;
  const std::size_t batch_;
  const std::size_t threads_;  ///< of one batch's eigenproblems
  std::mutex mutex_;
  std::vector<std::unique_ptr<DiffusionScorer>> idle_;
};

}  // namespace paretod::cuda

namespace paretod {
template <>
Fields<cuda::CudaDiffusionConfig> describe();
}
