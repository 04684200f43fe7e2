#pragma once
// The published search of the predicted front, for comparison: NSGA-III on the surrogates with the
// authors' reference directions and rates (MAP.py of their repository).

#include <cstdint>
#include <vector>

#include "optimizers/front_solver.hpp"

namespace paretod {

/// Every non-dominated point that the search saw.
std::vector<SolverPoint> paper_front(const FrontSolver& solver, const SolverDomain& domain,
                                     std::uint64_t seed);

}  // namespace paretod
