#pragma once
// Candidates, outcomes and trials: the nouns that optimizers, evaluators and the log share.
// Plain values; copy them freely.

#include <cstdint>
#include <limits>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "optimizers/core/space.hpp"

namespace paretod {

/// Trials of a job are numbered 1, 2, 3, ... in the order in which they are asked for.
using TrialNumber = std::uint64_t;

/// A point plus what to evaluate it at.
struct Candidate {
  Point point;
  /// How much to evaluate (images, examples); 0 is the evaluator's default.
  std::uint64_t fidelity = 0;
  /// Which block of noise or data; equal replicates see equal noise, different ones are
  /// independent.
  std::uint64_t replicate = 0;
  /// What the candidate is for, when it is not plain search: "baseline:last", "report:found".
  std::string tag = {};

  /// Bit for bit: -0.0 differs from 0.0, as it may for an evaluator.
  [[nodiscard]] bool same_as(const Candidate& other) const;
};

enum class Goal { minimize, maximize };

struct Objective {
  std::string name;
  Goal goal = Goal::minimize;
};

/// One measured quantity.
struct Measurement {
  double value = 0;
  /// Standard error of `value`; negative when the evaluator gave none.
  double standard_error = -1;
  /// Samples behind the value; 0 when not given.
  std::uint64_t count = 0;
  [[nodiscard]] bool has_error() const { return standard_error >= 0; }
};

enum class TrialStatus {
  ok,
  infeasible,  ///< a result: the candidate cannot be evaluated, with a reason; never retried
  failed,      ///< all attempts failed
  unknown,     ///< a paid call whose outcome was not learnt
};
std::string_view name_of(TrialStatus status);

using Metrics = std::vector<std::pair<std::string, double>>;

/// What evaluations use up.
struct Spend {
  double seconds = 0;             ///< of evaluation
  std::uint64_t tokens = 0;       ///< of language models, in and out
  std::int64_t money_micros = 0;  ///< millionths of the currency that the evaluator charges in

  Spend& operator+=(const Spend& other);
  friend bool operator==(const Spend&, const Spend&) = default;
};

struct Outcome {
  TrialStatus status = TrialStatus::ok;
  /// ok: one per objective of the job, in its order and with its own sign.
  std::vector<Measurement> objectives;
  /// One per constraint, satisfied when <= 0.
  std::vector<double> constraints = {};
  /// Whatever else the evaluator measured; finite.
  Metrics metrics = {};
  /// Why, when the status is not ok.
  std::string reason = {};
  /// What the last attempt used up.
  Spend cost = {};
  /// Executions it took.
  std::uint32_t attempts = 1;
  /// The trial of the same candidate whose outcome this is; nothing was executed.  0: none.
  TrialNumber same_as = 0;
  /// Per objective, its values on single examples, in the order of the examples; empty where the
  /// evaluator gave none.
  std::vector<std::vector<float>> examples = {};

  static Outcome failure(TrialStatus status, std::string reason) {
    return {.status = status, .objectives = {}, .reason = std::move(reason)};
  }
};

/// A finished trial as an optimizer sees it: every objective is to be minimised (maximised ones
/// are negated at this border, DESIGN 2), and a trial that is not ok has +infinity everywhere.
struct Trial {
  TrialNumber number = 0;
  Candidate candidate;
  TrialStatus status = TrialStatus::ok;
  std::vector<double> objectives;
  /// Per objective; negative where none was given.
  std::vector<double> standard_errors;
  /// As the evaluator gave them: each is satisfied when <= 0.  Empty unless ok.
  std::vector<double> constraints;
  Metrics metrics;
  /// Per objective, its values on single examples, to be minimised as well; empty where the
  /// evaluator gave none.
  std::vector<std::vector<float>> examples = {};

  [[nodiscard]] bool ok() const { return status == TrialStatus::ok; }
  /// Sum of the violated constraints; 0 when all hold, +infinity when the trial is not ok.
  [[nodiscard]] double violation() const;
};

/// Sum of what exceeds zero.
double violation_of(const std::vector<double>& constraints);

/// The optimizer's view of a recorded outcome.
Trial trial_view(TrialNumber number, const Candidate& candidate, const Outcome& outcome,
                 const std::vector<Objective>& objectives);

}  // namespace paretod
