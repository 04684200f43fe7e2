#pragma once
// What --check found, as a few lines for people.  Pure.

#include <string>

#include "evaluators/llm/caller.hpp"
#include "evaluators/llm/llm_config.hpp"
#include "evaluators/llm/response_ledger.hpp"
#include "evaluators/llm/server_probe.hpp"

namespace paretod::llm {

struct CheckFindings {
  ServerFacts server;
  std::size_t calls_at_once = 0;  ///< as far as configuration and server go
  ResponseLedger::Totals ledger;  ///< canaries included
  CallCost worst_trial;
};

/// Ends with a line end.
std::string check_summary(const LlmConfig& config, const CheckFindings& findings);

}  // namespace paretod::llm
