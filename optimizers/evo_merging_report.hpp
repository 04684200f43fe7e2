#pragma once
// The last stage of an Evo-Merging run: named merges on examples that nothing was chosen by.

#include <cstdint>
#include <string>
#include <vector>

#include "optimizers/core/optimizer.hpp"

namespace paretod {

struct NamedPoint {
  std::string name;
  Point point;
};

/// Evaluates all on the report split, or as many as the budget allows, and compares each with the
/// first: example by example where the evaluator gives values on single examples, else by the two
/// standard errors.
Report merge_report(const SearchProblem& problem, const std::vector<NamedPoint>& rows,
                    std::uint64_t examples, std::string stop_reason, Evaluations& evaluations);

}  // namespace paretod
