#pragma once
// NSGA-III, for three objectives and more, as a steady-state algorithm without generations, on
// mixed search spaces.

#include <cstdint>
#include <vector>

#include "optimizers/core/optimizer.hpp"
#include "optimizers/steady_state.hpp"

namespace paretod {

struct Nsga3Params : SteadyStateParams {
  Nsga3Params() { crossover_index = 30; }
  std::int64_t divisions = 0;
  std::int64_t population = 0;
};

/// Evenly spread directions on the unit simplex: all whole-number splits of `divisions` over the
/// objectives (Das and Dennis, SIAM J. Optim. 8(3), 1998).
std::vector<std::vector<double>> reference_directions(std::size_t objectives,
                                                      std::size_t divisions);

/// The usual ones for so many objectives: one layer, or two from seven objectives on.
std::vector<std::vector<double>> usual_directions(std::size_t objectives);

/// NSGA-III along the given directions; `population` points survive.
Report search_along(const std::vector<std::vector<double>>& directions, std::size_t population,
                    const SearchProblem& problem, const SteadyStateParams& params,
                    Evaluations& evaluations);

Optimizer nsga3_optimizer();

}  // namespace paretod
