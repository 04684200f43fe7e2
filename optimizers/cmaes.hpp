#pragma once
// CMA-ES as an optimizer: continuous spaces of one objective are what it is for.  It never waits
// for a generation: samples leave whenever a slot is free, and the distribution is updated whenever
// a generation's worth of results has come in.  One slot makes it the textbook algorithm.

#include <cstdint>
#include <string>

#include "optimizers/core/optimizer.hpp"

namespace paretod {

struct CmaesParams {
  std::int64_t population = 0;
  double sigma = 0.3;
  std::string restarts = "bipop";
  std::string covariance = "auto";
  std::int64_t directions = 0;
  std::int64_t fidelity = 0;
};

template <>
Fields<CmaesParams> describe();

Optimizer cmaes_optimizer();

}  // namespace paretod
