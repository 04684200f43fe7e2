#include "daemon/jobs/recorded_search.hpp"

namespace paretod {

void RecordedSearch::check_asked(TrialNumber number, const Candidate& candidate) const {
  if (state_.trials()[number - 1].candidate.same_as(candidate)) return;
  throw Diverged{"on replay, trial " + std::to_string(number) +
                 " asks for another point than the log records: the optimizer's arithmetic "
                 "differs from the run that wrote the log (another build or CPU?)"};
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
          trials_ + state_.imported(), parallelism_};
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
