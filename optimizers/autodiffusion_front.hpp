#pragma once
// The search of AutoDiffusion's "front" mode: steady-state evolution of schedules of any number of
// steps, towards the front of quality against cost.

#include "optimizers/autodiffusion.hpp"

namespace paretod {

Report run_autodiffusion_front(const SearchProblem& problem, const AutoDiffusionParams& params,
                               Evaluations& evaluations);

}  // namespace paretod
