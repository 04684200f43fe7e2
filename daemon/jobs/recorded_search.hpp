#pragma once
// The recorded part of a search, in the order in which the optimizer has to meet it again: checks
// what it asks and hands out what it was told (DESIGN 1.3).  Reads a JobState that its owner keeps
// still (locks, or owns alone).

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "daemon/jobs/job_state.hpp"
#include "optimizers/core/evaluations.hpp"
#include "optimizers/core/optimizer.hpp"
#include "optimizers/core/trial.hpp"

namespace paretod {

/// Thrown when the optimizer does something else than the log records.  Not a std::exception, for
/// the reason given at SearchStopped.
struct Diverged {
  std::string message;
};

class RecordedSearch {
 public:
  /// A told trial, and the limits in force once it is delivered: limits take effect at their
  /// place in the order of results.
  struct Delivery {
    Trial trial;
    std::vector<Trial> injected;  ///< told since the last delivery
    std::uint64_t trials = 0;
    std::size_t parallelism = 1;
  };

  explicit RecordedSearch(const JobState& state)
      : state_(state),
        recorded_(state.trials().size()),
        asked_(state.imported()),
        place_(state.imported()),
        trials_(state.spec().budget.trials),
        parallelism_(state.spec().parallelism) {}

  /// Limits before the first result.  Trials are counted with the imported ones.
  [[nodiscard]] std::uint64_t initial_trials() const {
    return state_.spec().budget.trials + state_.imported();
  }
  [[nodiscard]] std::size_t initial_parallelism() const { return state_.spec().parallelism; }

  /// The number of the next trial that the log, as it was at construction, records of the
  /// optimizer; 0 when there is none.  Throws Diverged unless it asked for exactly this candidate.
  TrialNumber take_asked(const Candidate& candidate);

  /// Passes by what is told of injected trials.
  [[nodiscard]] bool has_next();
  /// Requires has_next().
  Delivery next();

 private:
  const JobState& state_;
  const std::uint64_t recorded_;
  TrialNumber asked_;  ///< the last that was taken
  std::size_t place_;  ///< in the order of told trials; the imported ones are not delivered
  std::vector<Trial> injected_;
  std::size_t limit_cursor_ = 0;
  std::uint64_t trials_;
  std::size_t parallelism_;
};

/// Runs the optimizer to its end, whatever ends it, and takes in what is still in flight then.  A
/// live job and a replay do exactly this.
Report run_search(const SearchProblem& problem, const JobSpec& spec, const Optimizer& optimizer,
                  Evaluations& evaluations);

/// Throws Diverged if the trial was not submitted before its result comes.
void check_submitted(TrialNumber number, std::uint64_t submitted);

}  // namespace paretod
