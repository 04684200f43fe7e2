#pragma once
// A candidate on a loss oracle, a service that merges and measures by itself and answers one number
// (the API of the Black-Box-Merging release): one call per candidate.  Everything happens on the
// HTTP client's thread.

#include <functional>
#include <nlohmann/json.hpp>
#include <string>

#include "evaluators/llm/trial_run.hpp"

namespace paretod::llm {

/// `session`: the service's name for the split.  `say` takes one result or error of the evaluator
/// protocol.
void ask_oracle(Workshop& workshop, const Genome& genome, const std::string& session,
                std::size_t split, const std::string& id, const TrialRun::Say& say);

}  // namespace paretod::llm
