#pragma once
// Operations on the surrogate that a job's optimizer fits: to see it, to ask the front that it
// predicts, and to have what it predicts measured.  Answers come from the desk's thread where a fit
// or a write is needed.

#include <memory>
#include <vector>

#include "daemon/jobs/front_query.hpp"
#include "daemon/jobs/job_manager.hpp"
#include "daemon/jobs/surrogate_desk.hpp"
#include "daemon/rest/operation.hpp"

namespace paretod {

/// Both must outlive the operations.
std::vector<Operation> surrogate_operations(JobManager& manager, SurrogateDesk& surrogates);

/// GET /front with source=predicted.
HttpResponse predicted_front(SurrogateDesk& surrogates, const std::shared_ptr<Job>& job,
                             FrontQuery query, std::size_t limit, const Call& call);

}  // namespace paretod
