#pragma once
// Evaluators from their blocks in the configuration, for the daemon and for workers.

#include <memory>
#include <string>

#include "daemon/config.hpp"
#include "evaluators/evaluator.hpp"
#include "optimizers/core/result.hpp"

namespace paretod {

EvaluatorEnvironment evaluator_environment(const DaemonConfig& config);

/// Starts what it needs, such as processes.  The error's problems point into the configuration
/// ("/evaluators/digits/argv"); there is at least one.  `unavailable`: it is configured well
/// enough, but what it runs or asks does not start or answer.
Result<std::unique_ptr<Evaluator>> make_evaluator(const std::string& name,
                                                  const EvaluatorConfig& block,
                                                  const EvaluatorEnvironment& environment);

}  // namespace paretod
