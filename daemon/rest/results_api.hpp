#pragma once
// Operations on what a job has found: its front, its trials and its history.

#include <vector>

#include "daemon/jobs/job_manager.hpp"
#include "daemon/jobs/surrogate_desk.hpp"
#include "daemon/rest/front_view.hpp"
#include "daemon/rest/operation.hpp"

namespace paretod {

class AttemptLogs;

/// All must outlive the operations; without `logs` no attempt has one.
std::vector<Operation> result_operations(JobManager& manager, FrontWriter& fronts,
                                         SurrogateDesk& surrogates, ToldCache& told,
                                         const AttemptLogs* logs);

}  // namespace paretod
