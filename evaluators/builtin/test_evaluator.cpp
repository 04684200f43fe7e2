#include "evaluators/builtin/test_evaluator.hpp"

#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>

#include "evaluators/declared.hpp"
#include "optimizers/core/rng.hpp"

namespace paretod {

TestEvaluator::TestEvaluator(TestProblem problem, std::size_t threads)
    : InProcessEvaluator(threads), problem_(std::move(problem)) {}

TestEvaluator::~TestEvaluator() {
  {
    const std::lock_guard lock(mutex_);
    ending_ = true;
  }
  wake_.notify_all();
  stop();
}

Problems TestEvaluator::check(const EvaluationContext& context) const {
  Problems problems = check_objectives(problem_.description.objectives, context.objectives);
  for (Problems found : {check_params(problem_.description.params, context.params),
                         problem_.check_space(context.space)}) {
    problems.insert(problems.end(), found.begin(), found.end());
  }
  return problems;
}

std::size_t TestEvaluator::largest_batch(const EvaluationContext& context) const {
  // A worker that took several delayed ones would delay them one after another.
  return context.params.contains("delay_ms") ? 1 : 64;
}

std::vector<Outcome> TestEvaluator::evaluate_batch(std::span<const EvaluationRequest> requests) {
  std::vector<Outcome> outcomes;
  outcomes.reserve(requests.size());
  const auto common = prepared(requests.front().context);
  for (const EvaluationRequest& request : requests) {
    outcomes.push_back(evaluate_one(*common, request));
  }
  return outcomes;
}

std::shared_ptr<const TestEvaluator::Prepared> TestEvaluator::prepared(
    const ContextPointer& context) {
  constexpr std::size_t most_kept = 8;
  const std::lock_guard lock(mutex_);
  for (const auto& [known, prepared] : prepared_) {
    if (known == context) return prepared;
  }
  Prepared made{problem_.prepare(*context), {}};
  for (const Objective& objective : context->objectives) {
    const auto& declared = problem_.description.objectives;
    const auto found = std::find_if(declared.begin(), declared.end(), [&](const Objective& other) {
      return other.name == objective.name;
    });
    made.columns.push_back(static_cast<std::size_t>(found - declared.begin()));
  }
  if (prepared_.size() == most_kept) prepared_.erase(prepared_.begin());
  prepared_.emplace_back(context, std::make_shared<const Prepared>(std::move(made)));
  return prepared_.back().second;
}

Outcome TestEvaluator::evaluate_one(const Prepared& prepared, const EvaluationRequest& request) {
  const TestInstance& instance = prepared.instance;
  if (instance.delay_ms > 0 && !sleep(instance.delay_ms)) {
    return Outcome::failure(TrialStatus::failed, "cancelled");
  }
  if (instance.evaluate) {
    Outcome whole = instance.evaluate(request.context->space, request.candidate);
    if (whole.status != TrialStatus::ok) return whole;
    Outcome outcome = whole;
    outcome.objectives.clear();
    outcome.examples.clear();
    for (const std::size_t column : prepared.columns) {
      outcome.objectives.push_back(whole.objectives[column]);
      outcome.examples.push_back(std::move(whole.examples[column]));
    }
    return outcome;
  }
  const std::size_t declared = problem_.description.objectives.size();
  std::array<double, 8> values{};
  Outcome outcome;
  instance.measure(request.context->space, request.candidate.point,
                   std::span(values).first(declared), outcome.metrics);
  const std::uint64_t samples = std::max<std::uint64_t>(request.candidate.fidelity, 1);
  const double error = instance.noise / std::sqrt(static_cast<double>(samples));
  if (error > 0) {
    Rng rng(mix64(request.context->seed, request.candidate.replicate),
            hash_of(request.candidate.point));
    for (double& value : std::span(values).first(declared)) value += error * rng.normal();
  }
  outcome.objectives.reserve(prepared.columns.size());
  for (const std::size_t column : prepared.columns) {
    if (!std::isfinite(values[column])) {
      return Outcome::failure(
          TrialStatus::failed,
          "objective \"" + problem_.description.objectives[column].name + "\" is not finite");
    }
    outcome.objectives.push_back({values[column], error, samples});
  }
  return outcome;
}

bool TestEvaluator::sleep(std::int64_t milliseconds) {
  std::unique_lock lock(mutex_);
  return !wake_.wait_for(lock, std::chrono::milliseconds(milliseconds), [this] { return ending_; });
}

}  // namespace paretod
