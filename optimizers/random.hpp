#pragma once
// Uniform random search: the yardstick that every other optimizer has to beat, and the simplest
// steady-state one.  Any space, any number of objectives, any parallelism.

#include <cstdint>

#include "optimizers/core/optimizer.hpp"

namespace paretod {

struct RandomParams {
  std::int64_t fidelity = 0;
};

template <>
inline Fields<RandomParams> describe() {
  return Fields<RandomParams>().add("fidelity", &RandomParams::fidelity,
                                    "how much each trial evaluates; 0: the evaluator's default", 0,
                                    1e15);
}

Optimizer random_optimizer();

}  // namespace paretod
