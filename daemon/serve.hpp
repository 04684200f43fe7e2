#pragma once
// `paretod serve`: wires the daemon together, serves until SIGTERM or SIGINT, drains, and ends.
// A second signal ends it at once; that loses nothing that was durable.

#include "daemon/cli/serve_options.hpp"

namespace paretod {

/// Returns the exit status: 0 after a clean stop, 1 when it could not start (the reason is on
/// standard error).  Call it on the main thread, before any other thread exists.
int serve(const ServeOptions& options);

}  // namespace paretod
