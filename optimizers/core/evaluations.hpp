#pragma once
// The one door through which an optimizer meets the world (DESIGN 1.1): it asks for evaluations
// and is told outcomes.  Implementations journal (daemon/jobs), call a lambda (tests), or check a
// replay.  One Evaluations belongs to one run of one optimizer on one thread.

#include <cstddef>
#include <cstdint>
#include <vector>

#include "optimizers/core/trial.hpp"

namespace paretod {

/// Thrown by submit() when the budget allows no further trial.  An optimizer that wants a last
/// stage watches remaining() instead; one that does not may simply let this end its loop.
struct BudgetSpent {};

/// Thrown by submit(), once, when the search has stopped getting better and the job wants to end
/// then (StagnationWatch).  An optimizer with a last stage catches it and goes there.
struct Stagnated {};

/// Thrown by submit() and next() when the run has to unwind: pause, cancel, shutdown.  The run
/// comes back later as a replay.  None of these types derives from std::exception, so that a
/// library's catch (const std::exception&) cannot swallow it.
struct SearchStopped {};

class Evaluations {
 public:
  virtual ~Evaluations() = default;

  /// Asks for one evaluation and returns at once with its number.  The candidate must be valid in
  /// the space.
  virtual TrialNumber submit(const Candidate& candidate) = 0;
  /// The next finished trial, in the order in which the log recorded them: that order is the
  /// order of the search, so an asynchronous run replays exactly.  Requires in_flight() > 0.
  virtual Trial next() = 0;
  /// Trials that this optimizer did not ask for (somebody wanted them measured) and that were told
  /// before the one that next() returned last; each is given once.  They count in none of the
  /// numbers below, and an optimizer that has no use for them need not ask.
  virtual std::vector<Trial> injected() { return {}; }

  /// Submitted and not yet returned by next().
  [[nodiscard]] virtual std::size_t in_flight() const = 0;
  /// Trials that may still be submitted.  Changes only when next() returns.
  [[nodiscard]] virtual std::uint64_t remaining() const = 0;
  /// Evaluations worth keeping in flight at once.  Changes only when next() returns.
  [[nodiscard]] virtual std::size_t parallelism() const = 0;

  /// Steady-state searches submit while this holds.
  [[nodiscard]] bool slot_free() const { return in_flight() < parallelism() && remaining() > 0; }

  /// Generational searches: all outcomes, in the order of the candidates.  Requires
  /// in_flight() == 0.
  std::vector<Trial> evaluate(const std::vector<Candidate>& candidates);
};

}  // namespace paretod
