#pragma once
// Evaluations in process, for benches: outcomes come from a function, in the order asked, each when
// the optimizer waits for it.

#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <utility>
#include <vector>

#include "optimizers/core/evaluations.hpp"

namespace paretod {

/// What the function throws passes through next().
class DirectEvaluations final : public Evaluations {
 public:
  /// Minimised objectives of a point.
  using Function = std::function<std::vector<double>(const Point&)>;

  /// The same of a candidate, with its fidelity and replicate.
  struct OfCandidate {
    std::function<std::vector<double>(const Candidate&)> function;
  };

  DirectEvaluations(OfCandidate function, std::uint64_t budget, std::size_t parallelism)
      : function_(std::move(function.function)), budget_(budget), parallelism_(parallelism) {}
  DirectEvaluations(Function function, std::uint64_t budget, std::size_t parallelism)
      : DirectEvaluations(OfCandidate{[of_point = std::move(function)](const Candidate& candidate) {
                            return of_point(candidate.point);
                          }},
                          budget, parallelism) {}

  TrialNumber submit(const Candidate& candidate) override {
    if (remaining() == 0) throw BudgetSpent{};
    waiting_.emplace_back(++submitted_, candidate);
    return submitted_;
  }
  Trial next() override {
    Trial trial;
    trial.number = waiting_.front().first;
    trial.candidate = std::move(waiting_.front().second);
    waiting_.pop_front();
    trial.objectives = function_(trial.candidate);
    trial.standard_errors.assign(trial.objectives.size(), -1);
    return trial;
  }
  [[nodiscard]] std::size_t in_flight() const override { return waiting_.size(); }
  [[nodiscard]] std::uint64_t remaining() const override { return budget_ - submitted_; }
  [[nodiscard]] std::size_t parallelism() const override { return parallelism_; }

 private:
  const std::function<std::vector<double>(const Candidate&)> function_;
  const std::uint64_t budget_;
  const std::size_t parallelism_;
  std::uint64_t submitted_ = 0;
  std::deque<std::pair<TrialNumber, Candidate>> waiting_;
};

}  // namespace paretod
