#pragma once
// The evaluator protocol (protocol.hpp) seen from its far side: requests that came as messages,
// and replies that leave as messages.  For whoever runs an evaluator on behalf of a daemon
// elsewhere.  Pure functions; any thread.

#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "evaluators/evaluator.hpp"
#include "optimizers/core/result.hpp"

namespace paretod {

/// What the requests of a job share, from one of its evaluate messages.  Space and objectives are
/// not in the message.
Result<EvaluationContext> context_from_message(const nlohmann::json& evaluate, SearchSpace space,
                                               std::vector<Objective> objectives);

/// An evaluate message as a request, its ticket left to the caller.  The id has to be
/// "job:trial:attempt" with the job of the context.
Result<EvaluationRequest> request_from_message(const nlohmann::json& evaluate,
                                               std::shared_ptr<const EvaluationContext> context);

/// A reply as a progress, result or error message: what reply_of() turns back into that reply.
/// Attempts, worker and log are not part of messages.
nlohmann::json message_from_reply(const std::string& id, const EvaluationReply& reply,
                                  const std::vector<Objective>& objectives);

}  // namespace paretod
