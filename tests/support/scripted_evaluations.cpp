#include "tests/support/scripted_evaluations.hpp"

#include <bit>

namespace paretod {
namespace {

bool same_bits(double a, double b) {
  return std::bit_cast<std::uint64_t>(a) == std::bit_cast<std::uint64_t>(b);
}

bool same(const Outcome& a, const Outcome& b) {
  if (a.status != b.status || a.objectives.size() != b.objectives.size()) return false;
  for (std::size_t i = 0; i < a.objectives.size(); ++i) {
    if (!same_bits(a.objectives[i].value, b.objectives[i].value)) return false;
  }
  return a.metrics == b.metrics && a.reason == b.reason;
}

}  // namespace

Outcome scalar_outcome(double value) {
  Outcome outcome;
  outcome.objectives.push_back({.value = value});
  return outcome;
}

bool operator==(const ScriptedEvent& a, const ScriptedEvent& b) {
  if (a.kind != b.kind || a.number != b.number) return false;
  return a.kind == ScriptedEvent::Kind::asked ? a.candidate.same_as(b.candidate)
                                              : same(a.outcome, b.outcome);
}

ScriptedEvaluations::ScriptedEvaluations(const SearchProblem& problem, Script script,
                                         std::vector<ScriptedEvent> recorded)
    : problem_(problem), script_(std::move(script)), log_(std::move(recorded)) {
  for (const ScriptedEvent& event : log_) {
    if (event.kind == ScriptedEvent::Kind::asked) {
      recorded_asks_.push_back(event.candidate);
    } else {
      recorded_tells_.emplace_back(event.number, event.outcome);
    }
  }
}

TrialNumber ScriptedEvaluations::submit(const Candidate& candidate) {
  if (remaining() == 0) throw BudgetSpent{};
  const TrialNumber number = ++submitted_;
  if (const Problems problems = problem_.space.validate(candidate.point); !problems.empty()) {
    throw ScriptedMismatch{"trial " + std::to_string(number) + " is not valid: " +
                           problems.front().pointer + " " + problems.front().message};
  }
  in_flight_.emplace_back(number, candidate);
  if (number <= recorded_asks_.size()) {
    if (!candidate.same_as(recorded_asks_[number - 1])) {
      throw ScriptedMismatch{"trial " + std::to_string(number) + " differs from the log"};
    }
  } else {
    append({ScriptedEvent::Kind::asked, number, candidate, {}});
  }
  return number;
}

Trial ScriptedEvaluations::next() {
  if (in_flight_.empty()) throw ScriptedMismatch{"next() with nothing in flight"};
  const bool replaying = told_ < recorded_tells_.size();
  std::size_t place = 0;
  if (replaying) {
    while (place < in_flight_.size() && in_flight_[place].first != recorded_tells_[told_].first) {
      ++place;
    }
    if (place == in_flight_.size()) throw ScriptedMismatch{"the log tells a trial not yet asked"};
  } else {
    // Keyed by what has been told, so that a resumed run may finish trials as the first one did.
    Rng rng(script_.order_seed, told_);
    place = static_cast<std::size_t>(rng.below(in_flight_.size()));
  }
  const auto [number, candidate] = in_flight_[place];
  in_flight_.erase(in_flight_.begin() + static_cast<std::ptrdiff_t>(place));
  Outcome outcome;
  if (replaying) {
    outcome = recorded_tells_[told_].second;
  } else {
    outcome = script_.outcome(candidate);
    ++evaluated_;
    append({ScriptedEvent::Kind::told, number, {}, outcome});
  }
  ++told_;
  return trial_view(number, candidate, outcome, problem_.objectives);
}

void ScriptedEvaluations::append(ScriptedEvent event) {
  log_.push_back(std::move(event));
  if (log_.size() >= script_.crash_after) throw ScriptedCrash{};
}

ScriptedRun run_scripted(const Optimizer& optimizer, const SearchProblem& problem,
                         const ParamValues& params, const Script& script,
                         std::vector<ScriptedEvent> recorded) {
  ScriptedEvaluations evaluations(problem, script, std::move(recorded));
  ScriptedRun run;
  try {
    run.report = optimizer.run(problem, params, evaluations);
  } catch (const ScriptedCrash&) {
    run.crashed = true;
  }
  run.log = evaluations.log();
  run.evaluated = evaluations.evaluated();
  return run;
}

}  // namespace paretod
