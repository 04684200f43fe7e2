#pragma once
// One child process with pipes on its standard streams, in a process group of its own.  Started
// with posix_spawn from an argument vector, never through a shell.  Not thread-safe.  Linux 5.4 or
// later (pidfd).

#include <sys/types.h>

#include <string>
#include <utility>
#include <vector>

#include "evaluators/process/file_descriptor.hpp"
#include "evaluators/process/resource_limits.hpp"
#include "optimizers/core/result.hpp"

namespace paretod {

struct ChildCommand {
  /// The program and its arguments; a program without '/' is looked up on PATH.
  std::vector<std::string> argv;
  /// The whole environment, "NAME=value".
  std::vector<std::string> environment;
  /// Where it runs, and so what relative paths in argv refer to; empty: where the daemon runs.
  std::string directory;
  ResourceLimits limits = {};
};

class ChildProcess {
 public:
  /// The child inherits its three streams and nothing else; all signals have their defaults.
  static Result<ChildProcess> spawn(const ChildCommand& command);
  ChildProcess(ChildProcess&& other) noexcept
      : in(std::move(other.in)),
        out(std::move(other.out)),
        err(std::move(other.err)),
        exited(std::move(other.exited)),
        pid_(std::exchange(other.pid_, -1)) {}
  ChildProcess& operator=(ChildProcess&&) = delete;
  /// Kills the group if it has not been reaped, and waits for nothing.
  ~ChildProcess();

  /// To every process of its group that has not left it.
  void signal_group(int signal) const;
  /// Once `exited` is readable: kills what is left of the group, releases the process and says
  /// how it ended, "exited with status 3" or "was killed by signal 9 (Killed)".
  std::string reap();

  // Our ends; non-blocking.
  FileDescriptor in;
  FileDescriptor out;
  FileDescriptor err;
  FileDescriptor exited;  ///< pidfd: readable once the child has ended

 private:
  ChildProcess(FileDescriptor in_end, FileDescriptor out_end, FileDescriptor err_end,
               FileDescriptor pidfd, pid_t pid)
      : in(std::move(in_end)),
        out(std::move(out_end)),
        err(std::move(err_end)),
        exited(std::move(pidfd)),
        pid_(pid) {}

  pid_t pid_ = -1;  // also the group; valid until reaped, since a zombie keeps its number
};

}  // namespace paretod
