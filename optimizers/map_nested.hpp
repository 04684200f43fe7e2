#pragma once
// MAP for many tasks (nested mode): the two nodes of closest score are merged into one, with the
// two coefficients that a small flat MAP finds best for the preference, until one node is left. The
// answer is one point for one preference: another preference needs another run.
//
// A trial always measures all tasks, while a merge needs those of its members only: the report says
// how many task evaluations an evaluator could have left out.

#include "optimizers/core/optimizer.hpp"
#include "optimizers/map.hpp"

namespace paretod {

Problems check_nested(const SearchProblem& problem, const MapParams& params);
Report run_nested(const SearchProblem& problem, const MapParams& params, Evaluations& evaluations);

/// Design points of each merge for so many tasks and trials.
std::size_t nested_design(std::size_t tasks, std::uint64_t trials, const MapParams& params);

}  // namespace paretod
