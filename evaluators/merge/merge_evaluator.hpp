#pragma once
// The evaluator of merged models ("type": "merge"): a job searches the numbers of a recipe, each
// candidate is merged, and either native code (merged_scorer.hpp) or a program of the user's scores
// the weights.  Candidates that wait are merged together, in one pass over the sources.
//
// Declares the parameters of merge_space.hpp, and objectives, metrics, fidelity and params as the
// scorer or the program's hello say.  A candidate that cannot be merged (weights that sum to 0) is
// infeasible.
//
// A program is one that speaks the evaluator protocol, run as by the evaluator `process`; each
// request has one more field, "weights", the path of a safetensors file with the merged model.  It
// exists until the request is answered; whoever has mapped it by then keeps what he mapped.
//
// With "device": "cuda" all of it, scorer included, happens in processes of their own
// (device_merge_evaluator.hpp), which merge on GPUs.

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "evaluators/evaluator.hpp"
#include "evaluators/merge/merge_engine.hpp"
#include "evaluators/merge/merge_space.hpp"

namespace paretod {

/// The configuration block, beside the fields of ProcessConfig for a program.
struct MergeConfig : MergeSearchSpec {
  std::string recipe;
  std::string scorer;
  std::string scorer_file;
  std::int64_t slots = 0;
  std::int64_t merge_memory_mb = 0;
  std::string weights_directory;
  std::string device = "cpu";
  std::vector<std::string> devices = {"0"};
  std::int64_t device_memory_mb = 0;
  std::string device_program;
};
template <>
Fields<MergeConfig> describe();

/// What both kinds of it merge with.
struct MergeSetup {
  MergeSpace space;
  std::shared_ptr<const MergeSources> sources;
  std::unique_ptr<MergeEngine> engine;
  std::uint64_t memory_bytes = 0;  ///< for merged models
  std::size_t threads = 1;
};

/// Makes the engine of an evaluator; problems point into its block.
using MergeEngineFactory = std::function<Result<std::unique_ptr<MergeEngine>>(
    std::shared_ptr<const MergeSources> sources, const MergeRule& rule, const MergeLimits& limits)>;

/// The evaluator of a block, in this process and with this engine, whatever its `device`.
Result<std::unique_ptr<Evaluator>> create_merge_evaluator(const ParamValues& values,
                                                          const EvaluatorEnvironment& environment,
                                                          const MergeEngineFactory& engine);

EvaluatorType merge_evaluator_type();

}  // namespace paretod
