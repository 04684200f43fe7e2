#pragma once
// What an optimizer is: a plain function over a problem, its parameters and evaluations, and the
// registry entry that makes it known.  Adding one touches its own file pair, one line of
// optimizers/registry.cpp, one CMake line and its test.
//
// Determinism law (DESIGN 4): randomness only from the job's seed through Rng; no clock, thread,
// I/O, unordered iteration or parallel reduction.  Changed behaviour is a new revision.

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "optimizers/core/evaluations.hpp"
#include "optimizers/core/params.hpp"
#include "optimizers/core/space.hpp"
#include "optimizers/core/surrogate.hpp"
#include "optimizers/core/trial.hpp"

namespace paretod {

/// What to do about outcomes that differ from replicate to replicate.
struct NoisePolicy {
  /// How sure a comparison has to be before it counts as dominance, 0.5 to 1 (exclusive); 0:
  /// outcomes are exact, or meant to be taken as they are.
  double confidence = 0;
  /// How often a point may be evaluated, the first time included.
  std::uint64_t replicates = 10;
  [[nodiscard]] bool active() const { return confidence > 0; }
};

/// What is searched, without how.  Immutable while a job runs.
struct SearchProblem {
  SearchSpace space;
  std::vector<Objective> objectives;
  std::uint64_t seed = 0;
  /// Trials of the whole job as first submitted; 0 is unlimited.
  std::uint64_t trials = 0;
  /// Points to evaluate before any of the optimizer's own; valid, without duplicates.
  std::vector<Point> initial = {};
  /// Trials that are known before the search begins (imported from another job, already told).
  std::vector<Trial> known = {};
  NoisePolicy noise = {};
};

/// A mean over independent replicates, with its standard error (negative: fewer than two).
struct Estimate {
  double mean = 0;
  double standard_error = -1;
  std::uint64_t count = 0;
};
Estimate estimate(const std::vector<double>& values);

/// One line of an optimizer's final report: a named point, its estimates on noise that the search
/// never saw, and its paired difference to the first line, metric by metric.
struct ReportRow {
  std::string name;
  Point point;
  TrialNumber trial = 0;             ///< one trial that evaluated it
  std::vector<Estimate> estimates;   ///< one per Report::quantities
  std::vector<Estimate> difference;  ///< this row minus the first, paired by replicate
};

/// What an optimizer says when it ends.  Objectives in `rows` carry the user's sign.
struct Report {
  std::string stop_reason;              ///< "budget", "stagnation", ...
  std::vector<std::string> quantities;  ///< objective names, then metric names
  std::vector<ReportRow> rows;          ///< recommended point first; may be empty
};

/// A registered optimizer.  `check` refuses unsuitable jobs before they start (problems with
/// pointers into the job spec, "/optimizer/params/..." or "/objectives"); `run` is called only
/// when it found none.
struct Optimizer {
  std::string name;
  std::uint32_t revision = 1;
  std::string summary;  ///< one sentence
  std::string source;   ///< paper and section
  std::vector<FieldInfo> fields;
  std::function<Problems(const SearchProblem&, const ParamValues&)> check;
  std::function<Report(const SearchProblem&, const ParamValues&, Evaluations&)> run;
  /// The optimizer's model of the objectives, fitted to told trials; those of problem.known count
  /// whether `trials` repeats them or not.  The same trials give the same model, in any order.  An
  /// error says what is missing.  Empty for an optimizer that fits none.  `check` found nothing.
  std::function<Result<std::shared_ptr<const Surrogate>>(const SearchProblem&, const ParamValues&,
                                                         const std::vector<Trial>& trials)>
      surrogate = {};
};

/// Wraps a typed pair of functions:
///   Problems check(const SearchProblem&, const P&);
///   Report run(const SearchProblem&, const P&, Evaluations&);
template <class P, class Check, class Run>
Optimizer make_optimizer(std::string name, std::uint32_t revision, std::string summary,
                         std::string source, Check check, Run run) {
  Optimizer optimizer;
  optimizer.name = std::move(name);
  optimizer.revision = revision;
  optimizer.summary = std::move(summary);
  optimizer.source = std::move(source);
  optimizer.fields = describe<P>().infos();
  optimizer.check = [check](const SearchProblem& problem, const ParamValues& values) -> Problems {
    auto params = describe<P>().bind(values);
    return params ? check(problem, *params) : params.error().problems;
  };
  optimizer.run = [run](const SearchProblem& problem, const ParamValues& values,
                        Evaluations& evaluations) {
    return run(problem, describe<P>().bind(values).value(), evaluations);
  };
  return optimizer;
}

}  // namespace paretod
