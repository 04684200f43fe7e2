#pragma once
// Following a job to its end.

#include <string>

#include "daemon/cli/session.hpp"

namespace paretod::cli {

/// Polls the job until its status is final, then shows the result.  On a terminal one line is
/// redrawn; elsewhere a line is written every few seconds and whenever the status changes; with
/// --json only the finished job is written.  A daemon that goes away is waited for, and said to be
/// (WatchPace::patience_s).  Ctrl-C detaches; the job goes on.
int watch_job(const Session& session, const std::string& job);

}  // namespace paretod::cli
