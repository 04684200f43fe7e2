#pragma once
// The evaluator `merge` (evaluators/merge/merge_evaluator.hpp) on a GPU, for a process of its own
// (cuda_evaluator.cpp): the block's fields are its arguments, models are merged by
// cuda_merge_engine.hpp and scored as the block says, by native code here or by a program that this
// process starts.  A fault of the device ends the process.

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "evaluators/evaluator.hpp"
#include "optimizers/core/params.hpp"

namespace paretod::cuda {

/// What of the arguments is not the block's of a merge on the processor.
struct CudaMergeConfig {
  std::vector<std::string> devices = {"0"};
  std::int64_t device_memory_mb = 0;
  std::int64_t threads = 0;
};

/// `values`: the rest of the block.  Problems point into it.
Result<std::unique_ptr<Evaluator>> cuda_merge_evaluator(const CudaMergeConfig& config, int device,
                                                        const ParamValues& values);

}  // namespace paretod::cuda

namespace paretod {
template <>
Fields<cuda::CudaMergeConfig> describe();
}
