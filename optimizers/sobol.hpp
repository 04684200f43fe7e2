#pragma once
// Space-filling search by a scrambled Sobol sequence: covers the space more evenly than random
// search with the same number of trials.  Spaces of more than SobolSequence::most_dimensions
// coordinates are refused.

#include <cstdint>

#include "optimizers/core/optimizer.hpp"

namespace paretod {

struct SobolParams {
  std::int64_t fidelity = 0;
};

template <>
inline Fields<SobolParams> describe() {
  return Fields<SobolParams>().add("fidelity", &SobolParams::fidelity,
                                   "how much each trial evaluates; 0: the evaluator's default", 0,
                                   1e15);
}

Optimizer sobol_optimizer();

}  // namespace paretod
