#pragma once
// The built-in test problems as evaluators: the functions of functions.hpp, "ddim", "lcsc-toy",
// "evo-pool" and "evo-pool-tasks".

#include <vector>

#include "evaluators/builtin/test_evaluator.hpp"

namespace paretod {

/// Sorted by name.  `slots` of each description is 1.
std::vector<TestProblem> builtin_problems();

}  // namespace paretod
