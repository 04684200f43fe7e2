#pragma once
// The kinds of evaluator that a configuration can name, and the built-in evaluators that exist
// without one.

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "evaluators/evaluator.hpp"

namespace paretod {

/// One explicit list, sorted by name.
std::vector<EvaluatorType> evaluator_types();

/// Test problems that every daemon offers under these names ("zdt1", "sphere", ...).
std::vector<std::pair<std::string, std::unique_ptr<Evaluator>>> builtin_evaluators(
    const EvaluatorEnvironment& environment);

}  // namespace paretod
