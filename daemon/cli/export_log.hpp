#pragma once
// `paretod export`: the complete event log of a job as JSON lines, one per event.

#include <optional>
#include <string>

#include "daemon/cli/session.hpp"

namespace paretod::cli {

/// Pages through the log until its end, to standard output or to a file.  The file appears under
/// its name only when it is complete.
int export_job_log(const Session& session, const std::string& job,
                   const std::optional<std::string>& file);

}  // namespace paretod::cli
