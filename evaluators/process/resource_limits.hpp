#pragma once
// Bounds on what a child process may use, as setrlimit(2) knows them; inherited by whatever it
// starts.  They stop accidents (a leak, a runaway file), not an attacker.

#include <sys/types.h>

#include <cstdint>

namespace paretod {

/// 0: no limit beyond the daemon's own.
struct ResourceLimits {
  std::int64_t memory_mb = 0;  ///< address space, MiB (RLIMIT_AS)
  std::int64_t cpu_s = 0;      ///< CPU seconds in the life of the process (RLIMIT_CPU)
  std::int64_t file_mb = 0;    ///< size of a file it writes, MiB (RLIMIT_FSIZE)
  /// Processes and threads of the user altogether (RLIMIT_NPROC); root is not bound by it.
  std::int64_t processes_max = 0;
};

/// Applies them to a running child, and forbids it core files; 0 or an error number.  Limits never
/// rise above those that the child already has.
///
/// posix_spawn cannot set limits, and an exec helper would have to be found and would blur "no such
/// program" errors.  So they are set by prlimit(2) right after the spawn.  The child runs a moment
/// without them, which is harmless: nothing of a search reaches it before its hello.
int apply_limits(pid_t pid, const ResourceLimits& limits);

}  // namespace paretod
