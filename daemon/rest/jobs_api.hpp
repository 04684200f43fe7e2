#pragma once
// Operations on jobs themselves: create, list, read, the verbs, their events and their raw logs.

#include <vector>

#include "daemon/jobs/job_manager.hpp"
#include "daemon/rest/event_feed.hpp"
#include "daemon/rest/operation.hpp"
#include "daemon/rest/snapshot.hpp"

namespace paretod {

/// All must outlive the operations.
std::vector<Operation> job_operations(JobManager& manager, EventFeed& feed,
                                      HypervolumeCache& hypervolumes);

/// The job of the path parameter {job}, or the answer when it cannot be had.
Result<std::shared_ptr<Job>> find_job(const JobManager& manager, const Call& call);

}  // namespace paretod
