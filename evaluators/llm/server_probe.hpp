#pragma once
// Looks at a server before anything is asked of it: is it there, which model has it, does it know
// the adapters, how much does it do at once?  Then a few canaries through the whole path, which
// show whether the adapters act and whether answers keep them apart.  Blocks its caller, which is
// not the HTTP client's thread.

#include <array>
#include <cstddef>
#include <string>

#include "adapters/http/http_multi.hpp"
#include "evaluators/llm/caller.hpp"
#include "evaluators/llm/llm_config.hpp"
#include "evaluators/llm/trial_run.hpp"
#include "optimizers/core/result.hpp"

namespace paretod::llm {

struct ServerFacts {
  std::string identity;                 ///< model and software, as the server tells
  std::size_t slots = 0;                ///< requests that it works on at once; 0: it does not say
  std::array<std::string, 3> sessions;  ///< loss_oracle: per split
};

/// Waits while the server says that it is loading, at most `patience_s`.
Result<ServerFacts> look_at_server(const LlmConfig& config, const HttpClient::Headers& headers,
                                   HttpMulti& http, double patience_s);

/// One vector twice gives one answer; adapters change something; a prompt asked under one vector,
/// then under another, then under the first again gives the first answer.  Costs a few calls for
/// the job "probe".
Result<void> try_canaries(Workshop& workshop);

}  // namespace paretod::llm
