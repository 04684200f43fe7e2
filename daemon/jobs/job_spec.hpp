#pragma once
// A job as submitted: what to search, how, with what, and how far.  Parsed and completed once at
// the edge (evaluator declarations filled in, seed drawn, parallelism settled), immutable from
// then on; what may change later (budget, parallelism) changes by an event.

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "optimizers/core/optimizer.hpp"
#include "optimizers/core/params.hpp"
#include "optimizers/core/result.hpp"
#include "optimizers/core/space.hpp"
#include "optimizers/core/stagnation.hpp"
#include "optimizers/core/trial.hpp"

namespace paretod {

class Catalog;

struct Budget {
  std::uint64_t trials = 1000;  ///< candidates asked for, in all; at least 1
  double wall_s = 0;            ///< seconds of running, in all; 0 is unlimited
  /// What all attempts together may use up; 0 is unlimited.
  Spend caps = {};
  /// What one attempt may use up at most, as the evaluator or the job says.
  Spend worst_case = {};
  /// Of the money; empty unless there is a cap on it.
  std::string currency = {};
};

inline constexpr double default_max_failure_share = 0.2;

/// When an attempt may be stopped because what it has measured so far is clearly dominated.
struct RacingPolicy {
  double confidence = 0;       ///< one-sided, in each objective; 0: never
  std::uint64_t minimum = 30;  ///< samples, or examples, before anything is concluded
  [[nodiscard]] bool active() const { return confidence > 0; }
};

/// Names of jobs, and so of logs and URLs.
bool valid_job_name(std::string_view name);  // [A-Za-z0-9._-]{1,64}

/// Trials of another job that this one knows from the start (JobManager::create looks them up).
struct ImportRequest {
  std::string job;  ///< empty: none
  std::uint64_t trials = 200;
};

struct JobSpec {
  std::string name;  ///< for people; several jobs may share one
  SearchSpace space;
  std::vector<Objective> objectives;
  std::string optimizer;
  ParamValues optimizer_params;
  std::uint32_t optimizer_revision = 0;
  std::string evaluator;
  ParamValues evaluator_params;
  Budget budget;
  std::size_t parallelism = 1;  ///< evaluations in flight at once
  std::uint64_t seed = 0;
  double trial_timeout_s = 0;  ///< wall seconds one attempt may take; 0 is unlimited
  std::uint32_t max_attempts = 3;
  /// The job pauses when more than this share of its last 50 trials failed; 1: never.
  double max_failure_share = default_max_failure_share;
  std::vector<Point> initial = {};  ///< to be evaluated first
  ImportRequest import = {};
  NoisePolicy noise = {};
  StagnationPolicy stagnation = {};
  RacingPolicy racing = {};

  [[nodiscard]] SearchProblem problem() const;
};

/// Reads, completes and checks a job spec against what this daemon has.  Every offending field is
/// named; nothing is created.  What the optimizer demands of a job with an import is checked by
/// JobManager::create, which knows what is imported.
Result<JobSpec> job_spec_from_json(const nlohmann::json& document, const Catalog& catalog);
/// Reads back what to_json wrote, without consulting a catalog (the log is self-contained).
Result<JobSpec> stored_job_spec(const nlohmann::json& document);
nlohmann::json to_json(const JobSpec& spec);

}  // namespace paretod
