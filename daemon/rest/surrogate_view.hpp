#pragma once
// A job's surrogate as JSON: everything needed to compute its predictions elsewhere, and to judge
// them.  A pure function.

#include <nlohmann/json_fwd.hpp>
#include <string>

#include "daemon/jobs/job_spec.hpp"
#include "daemon/jobs/surrogate_desk.hpp"

namespace paretod {

nlohmann::json surrogate_view(const std::string& job, const JobSpec& spec,
                              const JobSurrogate& surrogate);

}  // namespace paretod
