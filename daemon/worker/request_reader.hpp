#pragma once
// Leases as requests for this worker's evaluator.  The space and the objectives of a job are asked
// of the daemon once, and shared by all its requests.  Not thread-safe.

#include <map>
#include <memory>
#include <string>

#include "daemon/worker/lease_api.hpp"
#include "evaluators/evaluator.hpp"

namespace paretod {

class RequestReader {
 public:
  /// Both have to outlive it.
  RequestReader(LeaseApi& api, const Evaluator& evaluator);

  /// The ticket is left to the caller.  Errors: `unavailable` and the like when the daemon did not
  /// say what the job is like, `invalid` when the request is not for an evaluator like this one.
  Result<EvaluationRequest> read(const GrantedLease& lease);

 private:
  using Context = std::shared_ptr<const EvaluationContext>;

  Result<Context> context_of(const GrantedLease& lease, const nlohmann::json& message);
  Result<JobShape> shape_of(const std::string& job);

  LeaseApi& api_;
  const Evaluator& evaluator_;
  std::map<std::string, Context> contexts_;  ///< by job
};

}  // namespace paretod
