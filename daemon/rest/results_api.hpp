#pragma once
// Operations on what a job has found: its front, its trials and its history.

#include <vector>

#include "daemon/jobs/job_manager.hpp"
#include "daemon/rest/front_view.hpp"
#include "daemon/rest/operation.hpp"

namespace paretod {

/// Both must outlive the operations.
std::vector<Operation> result_operations(JobManager& manager, FrontWriter& fronts, ToldCache& told);

}  // namespace paretod
