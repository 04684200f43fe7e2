#pragma once
// Jobs, evaluators and optimizers as lines of text.  Pure functions from the daemon's JSON.

#include "daemon/cli/json_view.hpp"
#include "daemon/cli/result_view.hpp"

namespace paretod::cli {

/// A reply of /v1/jobs: the jobs, and those whose logs the daemon cannot read.
Lines jobs_view(const Json& jobs, const Page& page);
/// One job in full, with its report.
Lines job_view(const Json& job);
/// Items of /v1/evaluators.
Lines evaluators_view(const Json& evaluators, const Page& page);
/// Items of /v1/optimizers.
Lines optimizers_view(const Json& optimizers, const Page& page);
/// One of them with its parameters: default, range, meaning.
Lines optimizer_view(const Json& optimizer, const Page& page);

}  // namespace paretod::cli
