#pragma once
// Evaluations for tests of optimizers, without daemon, threads or time: outcomes come from a
// function, trials finish in an order drawn from a seed, and everything is logged as the daemon
// would log it.  A run may crash after any event, and may start on the log of an earlier one:
// what that log holds is compared and returned, what it lacks is evaluated.

#include <cstddef>
#include <cstdint>
#include <functional>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "optimizers/core/evaluations.hpp"
#include "optimizers/core/optimizer.hpp"
#include "optimizers/core/rng.hpp"

namespace paretod {

/// One objective value per outcome, the commonest case.
Outcome scalar_outcome(double value);

struct ScriptedEvent {
  enum class Kind { asked, told };
  Kind kind;
  TrialNumber number;
  Candidate candidate;  ///< asked
  Outcome outcome;      ///< told
};
bool operator==(const ScriptedEvent& a, const ScriptedEvent& b);

/// Ends a run after the event at which the script said so.  Not a std::exception, like the
/// exceptions it stands for.
struct ScriptedCrash {};
/// The optimizer asked for something else than the log records, or broke a rule of Evaluations.
struct ScriptedMismatch {
  std::string message;
};

struct Script {
  std::function<Outcome(const Candidate&)> outcome;
  std::uint64_t budget = 0;
  std::size_t parallelism = 1;
  /// Which of the trials in flight finishes next is drawn from this seed.
  std::uint64_t order_seed = 0;
  /// Throw ScriptedCrash once the log holds so many events.
  std::size_t crash_after = std::numeric_limits<std::size_t>::max();
};

class ScriptedEvaluations final : public Evaluations {
 public:
  ScriptedEvaluations(const SearchProblem& problem, Script script,
                      std::vector<ScriptedEvent> recorded = {});

  TrialNumber submit(const Candidate& candidate) override;
  Trial next() override;
  [[nodiscard]] std::size_t in_flight() const override { return in_flight_.size(); }
  [[nodiscard]] std::uint64_t remaining() const override { return script_.budget - submitted_; }
  [[nodiscard]] std::size_t parallelism() const override { return script_.parallelism; }

  /// Everything recorded so far, older runs' part first.
  [[nodiscard]] const std::vector<ScriptedEvent>& log() const { return log_; }
  /// Outcomes computed by this run.
  [[nodiscard]] std::uint64_t evaluated() const { return evaluated_; }

 private:
  void append(ScriptedEvent event);

  const SearchProblem& problem_;
  Script script_;
  std::vector<ScriptedEvent> log_;
  std::vector<Candidate> recorded_asks_;
  std::vector<std::pair<TrialNumber, Outcome>> recorded_tells_;
  std::vector<std::pair<TrialNumber, Candidate>> in_flight_;
  std::uint64_t submitted_ = 0;
  std::uint64_t told_ = 0;
  std::uint64_t evaluated_ = 0;
};

/// Runs the optimizer to its end, or to the scripted crash.  Throws ScriptedMismatch.
struct ScriptedRun {
  std::vector<ScriptedEvent> log;
  Report report;
  bool crashed = false;
  std::uint64_t evaluated = 0;
};
ScriptedRun run_scripted(const Optimizer& optimizer, const SearchProblem& problem,
                         const ParamValues& params, const Script& script,
                         std::vector<ScriptedEvent> recorded = {});

}  // namespace paretod
