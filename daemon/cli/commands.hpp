#pragma once
// The commands that talk to a daemon.

#include "daemon/cli/session.hpp"

namespace paretod::cli {

/// Runs the verb of session.arguments; returns the exit status.
int run_command(const Session& session);

}  // namespace paretod::cli
