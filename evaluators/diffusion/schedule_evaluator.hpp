#pragma once
// The native schedule evaluator ("type": "diffusion-schedule"): a job searches at which few times
// one trained diffusion model is called, what it leaves out at each (blocks), and how each step is
// solved (AutoDiffusion: Li et al. 2023).  What it computes is in schedule_scorer.hpp; this is its
// face to the daemon.
//
// Declares one parameter "schedule"; the objectives "fd" (Frechet distance to set A) and, if
// the configuration asks for it, "cost"; the metrics "fd_heldout" (to set B), "kid", and per
// image "calls" (network passes), "blocks" (run in them), "multiply_adds" and "seconds" (processor
// time, as measured), without the one that is the cost; and fidelity in images.  More images of a
// schedule extend those it had.  The noise depends on the configuration and the candidate's
// replicate, never on the job, so that jobs can be compared.  A candidate whose samples overflow is
// infeasible.
//
// It is a type of its own, beside "diffusion", because the two share no setting but the model: one
// type would make every other field depend on a mode.

#include <atomic>
#include <cstddef>
#include <memory>
#include <span>
#include <vector>

#include "evaluators/diffusion/schedule_config.hpp"
#include "evaluators/diffusion/schedule_scorer.hpp"
#include "evaluators/evaluator.hpp"
#include "evaluators/in_process.hpp"

namespace paretod {

/// What a job may set.
struct ScheduleJobParams {
  double guidance = 1;
};

class ScheduleEvaluator final : public InProcessEvaluator {
 public:
  /// Loads the model; relative paths count from environment.base_directory.
  static Result<std::unique_ptr<Evaluator>> create(const ScheduleConfig& config,
                                                   const EvaluatorEnvironment& environment);
  ~ScheduleEvaluator() override;

  [[nodiscard]] EvaluatorDescription describe() const override { return description_; }
  [[nodiscard]] Problems check(const EvaluationContext& context) const override;

 private:
  ScheduleEvaluator(ScheduleScorer scorer, ScheduleConfig config, EvaluatorDescription description,
                    std::size_t threads, std::size_t batch);

  [[nodiscard]] std::size_t largest_batch(const EvaluationContext&) const override {
    return batch_;
  }
  std::vector<Outcome> evaluate_batch(std::span<const EvaluationRequest> requests) override;
  [[nodiscard]] Result<ScheduleRequest> request_for(const EvaluationRequest& request) const;
  [[nodiscard]] Outcome outcome_of(const ScheduleRequest& request, const ScheduleScore& score,
                                   const std::vector<Objective>& objectives) const;

  const ScheduleConfig config_;
  const EvaluatorDescription description_;
  const std::size_t threads_;
  const std::size_t batch_;
  ScheduleScorer scorer_;  // used by the one worker thread
  std::atomic<bool> stopping_{false};
};

EvaluatorType schedule_evaluator_type();

}  // namespace paretod
