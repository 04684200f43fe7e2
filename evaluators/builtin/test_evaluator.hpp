#pragma once
// The evaluator behind every built-in test problem: adds noise, samples and delay to a formula.
// Noise is normal and keyed by (job seed, replicate, point), so a repeated request repeats its
// result, and another replicate of the same point is an independent draw.

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <span>
#include <utility>
#include <vector>

#include "evaluators/evaluator.hpp"
#include "evaluators/in_process.hpp"

namespace paretod {

/// A test problem with one job's parameters bound.  Immutable; used from several threads.
struct TestInstance {
  /// Standard deviation of one sample of each objective; a fidelity of n samples divides it by
  /// sqrt(n).
  double noise = 0;
  /// Milliseconds that each evaluation takes longer than it needs.
  std::int64_t delay_ms = 0;
  /// Exact values of all declared objectives, and metrics.
  std::function<void(const SearchSpace&, const Point&, std::span<double>, Metrics&)> measure;
  /// Instead of measure and noise, where fidelity and replicate mean something of the problem's
  /// own: the outcome, with all declared objectives.
  std::function<Outcome(const SearchSpace&, const Candidate&)> evaluate = {};
};

struct TestProblem {
  std::string name;
  EvaluatorDescription description;
  /// Demands on the job's space; pointers below "/space".
  std::function<Problems(const SearchSpace&)> check_space;
  /// Called with contexts that passed check, one call at a time.
  std::function<TestInstance(const EvaluationContext&)> prepare;
};

class TestEvaluator final : public InProcessEvaluator {
 public:
  TestEvaluator(TestProblem problem, std::size_t threads);
  ~TestEvaluator() override;

  [[nodiscard]] EvaluatorDescription describe() const override { return problem_.description; }
  [[nodiscard]] Problems check(const EvaluationContext& context) const override;

 private:
  struct Prepared {
    TestInstance instance;
    std::vector<std::size_t> columns;  ///< per objective of the job: which declared one it is
  };
  using ContextPointer = std::shared_ptr<const EvaluationContext>;

  [[nodiscard]] std::size_t largest_batch(const EvaluationContext& context) const override;
  std::vector<Outcome> evaluate_batch(std::span<const EvaluationRequest> requests) override;
  std::shared_ptr<const Prepared> prepared(const ContextPointer& context);
  Outcome evaluate_one(const Prepared& prepared, const EvaluationRequest& request);
  /// False when the evaluator is being destroyed.
  bool sleep(std::int64_t milliseconds);

  const TestProblem problem_;
  std::mutex mutex_;
  /// The latest few jobs; holding the context keeps its address from being reused.
  std::vector<std::pair<ContextPointer, std::shared_ptr<const Prepared>>> prepared_;
  std::condition_variable wake_;
  bool ending_ = false;
};

}  // namespace paretod
