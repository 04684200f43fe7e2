#pragma once
// Looks at a server before anything is asked of it: is it there, which model has it, does it know
// the adapters, how much does it do at once, what did a killed evaluator leave in it?  Then a few
// canaries through the whole path, which show whether the adapters act and whether answers keep
// them apart.  Blocks its caller, which is not the HTTP client's thread.

#include <array>
#include <cstddef>
#include <functional>
#include <string>
#include <vector>

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

struct ServerAccess {
  std::string url;  ///< without a trailing '/'
  HttpClient::Headers headers;
  HttpMulti& http;
};

/// Says something to the operator.
using Warn = std::function<void(const std::string&)>;

/// Waits while the server cannot be reached or says that it is loading, at most `patience_s`, and
/// says so.
Result<ServerFacts> look_at_server(const LlmConfig& config, const ServerAccess& access,
                                   double patience_s, const Warn& warn);

/// Names of the merged adapters in the server that were written by processes which are no more;
/// none where the server does not list what it has loaded, and from where.
std::vector<std::string> orphans_of(const Materialiser& materialiser, const ServerAccess& access);

/// How many went; ends with the first that fails for another reason than being unknown.
std::size_t unload_adapters(const std::vector<std::string>& names, const Dialect& dialect,
                            const ServerAccess& access);

/// One vector twice gives one answer; adapters change something; a prompt asked under one vector,
/// then under another, then under the first again gives the first answer.  Costs a few calls for
/// the job "probe".
Result<void> try_canaries(Workshop& workshop);

}  // namespace paretod::llm
