#pragma once
// Compares what a job asks for with what an evaluator declares of itself; the common part of
// Evaluator::check.  Pure functions; problems point into the job spec.

#include <vector>

#include "optimizers/core/params.hpp"
#include "optimizers/core/result.hpp"
#include "optimizers/core/space.hpp"
#include "optimizers/core/trial.hpp"

namespace paretod {

struct EvaluationContext;
struct EvaluatorDescription;

/// The job may take any of the declared objectives, in any order, each with its declared goal.
Problems check_objectives(const std::vector<Objective>& declared,
                          const std::vector<Objective>& asked);

/// The job's space must have exactly the declared parameters, in any order; it may narrow bounds
/// and choices but not widen them.
Problems check_space(const std::vector<Parameter>& declared, const std::vector<Parameter>& asked);

/// Unknown names, wrong types, values out of range; below "/evaluator/params".
Problems check_params(const std::vector<FieldInfo>& fields, const ParamValues& values);

/// All three, as far as the evaluator declares anything.
Problems check_declared(const EvaluatorDescription& declared, const EvaluationContext& context);

}  // namespace paretod
