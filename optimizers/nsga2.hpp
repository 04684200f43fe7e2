#pragma once
// NSGA-II as a steady-state algorithm without generations, on mixed search spaces.

#include <cstdint>

#include "optimizers/core/optimizer.hpp"
#include "optimizers/steady_state.hpp"

namespace paretod {

struct Nsga2Params : SteadyStateParams {
  std::int64_t population = 0;
};

Optimizer nsga2_optimizer();

}  // namespace paretod
