#pragma once
// NSGA-II as a steady-state algorithm without generations, on mixed search spaces.

#include <cstdint>

#include "optimizers/core/optimizer.hpp"

namespace paretod {

struct Nsga2Params {
  std::int64_t population = 50;
  double crossover_probability = 1;
  double crossover_index = 15;
  double mutation_probability = 0;
  double mutation_index = 20;
  double replicate_share = 0.25;
  std::int64_t fidelity = 0;
};

Optimizer nsga2_optimizer();

}  // namespace paretod
