#include "daemon/jobs/recorded_search.hpp"

#include <utility>

namespace paretod {

TrialNumber RecordedSearch::take_asked(const Candidate& candidate) {
  do {
    if (asked_ == recorded_) return 0;
  } while (state_.trials()[asked_++].injected);
  if (state_.trials()[asked_ - 1].candidate.same_as(candidate)) return asked_;
  throw Diverged{"on replay, trial " + std::to_string(asked_) +
                 " asks for another point than the log records: the optimizer's arithmetic "
                 "differs from the run that wrote the log (another build or CPU?)"};
}

bool RecordedSearch::has_next() {
  const auto& told = state_.told_order();
  for (; place_ < told.size(); ++place_) {
    const TrialRecord& record = state_.trials()[told[place_] - 1];
    if (!record.injected) return true;
    injected_.push_back(
        trial_view(told[place_], record.candidate, *record.outcome, state_.spec().objectives));
  }
  return false;
}

RecordedSearch::Delivery RecordedSearch::next() {
  const auto& changes = state_.limit_changes();
  for (; limit_cursor_ < changes.size() && changes[limit_cursor_].told_before <= place_;
       ++limit_cursor_) {
    trials_ = changes[limit_cursor_].trials;
    parallelism_ = changes[limit_cursor_].parallelism;
  }
  const TrialNumber number = state_.told_order()[place_++];
  const TrialRecord& record = state_.trials()[number - 1];
  return {trial_view(number, record.candidate, *record.outcome, state_.spec().objectives),
          std::exchange(injected_, {}), trials_ + state_.imported(), parallelism_};
}

Report run_search(const SearchProblem& problem, const JobSpec& spec, const Optimizer& optimizer,
                  Evaluations& evaluations) {
  StagnationWatch watch(evaluations, spec.stagnation);
  Report report;
  try {
    report = optimizer.run(problem, spec.optimizer_params, watch);
  } catch (const BudgetSpent&) {
    report.stop_reason = "budget";
  } catch (const Stagnated&) {
    report.stop_reason = "stagnation";
  }
  while (watch.in_flight() > 0) watch.next();
  return report;
}

void check_submitted(TrialNumber number, std::uint64_t submitted) {
  if (number <= submitted) return;
  throw Diverged{"on replay, the optimizer waits for a result before it has asked for trial " +
                 std::to_string(number) + ", whose result comes next in the log"};
}

}  // namespace paretod
