#pragma once
// `paretod worker`: runs an evaluator for a daemon elsewhere until SIGTERM or SIGINT, which let
// running attempts end within the grace period.  A second signal gives them back at once, a third
// ends the process as it stands.

#include "daemon/cli/work_options.hpp"

namespace paretod {

/// Returns the exit status: 0 after a clean stop, 1 when it could not start or the daemon refused
/// it (the reason is on standard error).  Call it on the main thread, before any other thread
/// exists.
int work(const WorkOptions& options);

}  // namespace paretod
