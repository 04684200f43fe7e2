#pragma once
// Evaluators that nothing in this process carries out: workers on other machines lease their
// attempts (type "workers"), or people ask for candidates and tell results (the built-in
// "external").

#include <memory>

#include "evaluators/evaluator.hpp"

namespace paretod {

/// Describes itself and checks jobs; is never given requests.
class LeasedEvaluator final : public Evaluator {
 public:
  explicit LeasedEvaluator(EvaluatorDescription description);
  [[nodiscard]] EvaluatorDescription describe() const override { return description_; }
  [[nodiscard]] Problems check(const EvaluationContext& context) const override;
  /// Answers with faults: leased requests go to whoever leases them.
  void evaluate(std::vector<EvaluationRequest> requests, Reply reply) override;
  void cancel(std::uint64_t) override {}

 private:
  const EvaluatorDescription description_;
};

EvaluatorType workers_evaluator_type();

/// For jobs that declare their own space and objectives.
std::unique_ptr<Evaluator> external_evaluator();

}  // namespace paretod
