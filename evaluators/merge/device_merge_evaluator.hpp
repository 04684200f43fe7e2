#pragma once
// Merges on a GPU for the evaluator `merge`: a program with the GPU's code (paretod-cuda-evaluator,
// evaluators/cuda) runs once for each entry of `devices`, and merges and scores there as the
// daemon would itself.  The daemon keeps the recipe, for exports, and touches no GPU: a fault of
// one ends its process, whose attempts are made again by the next.

#include <memory>

#include "evaluators/merge/merge_evaluator.hpp"
#include "evaluators/process/process_evaluator.hpp"

namespace paretod {

/// `values`: the whole block, which the program gets as its arguments.  Problems point into it;
/// where the program or a GPU is missing, at "/device".
Result<std::unique_ptr<Evaluator>> start_device_merges(const ParamValues& values,
                                                       const MergeConfig& config,
                                                       const ProcessConfig& process,
                                                       const EvaluatorEnvironment& environment,
                                                       MergeSpace space);

}  // namespace paretod
