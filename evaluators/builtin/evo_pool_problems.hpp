#pragma once
// Planted pools of adapters (EvoPool) as test problems: "evo-pool" with the loss on one target
// task, "evo-pool-tasks" with the losses on two.  The space holds a real parameter beta.NAME for
// each adapter, of any names and any number, and alpha.NAME where it is to be pruned.  Replicate
// and fidelity are splits, blocks and examples as for evo_merging: replicate = split + 3 * block,
// block b of k examples begins at b * k and wraps around, fidelity 0 is the whole split.

#include <vector>

#include "evaluators/builtin/test_evaluator.hpp"

namespace paretod {

std::vector<TestProblem> evo_pool_problems();

}  // namespace paretod
