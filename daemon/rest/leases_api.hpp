#pragma once
// Operations for those who evaluate elsewhere: workers lease attempts, keep them alive, bring
// results, give back; and ask and tell of a job for people who drive evaluations by hand.

#include <vector>

#include "daemon/jobs/job_manager.hpp"
#include "daemon/rest/operation.hpp"

namespace paretod {

/// `manager` must outlive the operations.
std::vector<Operation> lease_operations(JobManager& manager);

}  // namespace paretod
