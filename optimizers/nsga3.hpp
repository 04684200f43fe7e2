#pragma once
// NSGA-III, for three objectives and more, as a steady-state algorithm without generations, on
// mixed search spaces.

#include <cstdint>
#include <vector>

#include "optimizers/core/optimizer.hpp"

namespace paretod {

struct Nsga3Params {
  std::int64_t divisions = 0;
  std::int64_t population = 0;
  double crossover_probability = 1;
  double crossover_index = 30;
  double mutation_probability = 0;
  double mutation_index = 20;
  double replicate_share = 0.25;
  std::int64_t fidelity = 0;
};

/// Evenly spread directions on the unit simplex: all whole-number splits of `divisions` over the
/// objectives (Das and Dennis, SIAM J. Optim. 8(3), 1998).
std::vector<std::vector<double>> reference_directions(std::size_t objectives,
                                                      std::size_t divisions);

Optimizer nsga3_optimizer();

}  // namespace paretod
