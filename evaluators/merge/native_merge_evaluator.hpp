#pragma once
// Merged models scored by native code: merges a batch into memory, then scores its candidates in
// parallel.  See merge_evaluator.hpp.

#include <atomic>
#include <memory>

#include "evaluators/in_process.hpp"
#include "evaluators/merge/merge_evaluator.hpp"
#include "evaluators/merge/merge_outputs.hpp"
#include "evaluators/merge/merged_scorer.hpp"

namespace paretod {

class NativeMergeEvaluator final : public InProcessEvaluator {
 public:
  /// `slots`: 0 chooses.  Problems point into the evaluator's block.
  static Result<std::unique_ptr<Evaluator>> create(MergeSetup setup,
                                                   std::unique_ptr<const MergedScorer> scorer,
                                                   std::size_t slots);
  ~NativeMergeEvaluator() override;

  [[nodiscard]] EvaluatorDescription describe() const override { return description_; }
  [[nodiscard]] Problems check(const EvaluationContext& context) const override;
  [[nodiscard]] Result<std::string> recipe(const EvaluationContext& context,
                                           const Candidate& candidate) const override;

 private:
  NativeMergeEvaluator(MergeSetup setup, std::unique_ptr<const MergedScorer> scorer,
                       EvaluatorDescription description, std::size_t batch);

  [[nodiscard]] std::size_t largest_batch(const EvaluationContext&) const override {
    return batch_;
  }
  std::vector<Outcome> evaluate_batch(std::span<const EvaluationRequest> requests) override;
  [[nodiscard]] Outcome score(const EvaluationRequest& request, const MergedWeights& weights) const;

  const MergeSetup setup_;
  const std::unique_ptr<const MergedScorer> scorer_;
  const ScorerDescription scored_;
  const EvaluatorDescription description_;
  const std::size_t batch_;
  MemoryOutput output_;  // used by the one worker thread
  std::atomic<bool> stopping_{false};
};

}  // namespace paretod
