#pragma once
// Starts programs with nothing inherited but what is named: no descriptors, a bare environment,
// default signals, a process group of their own (so that Ctrl-C reaches only the daemon).

#include <sys/types.h>

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "optimizers/core/result.hpp"

namespace paretod {

/// Where `program` is: itself if it holds a slash, else in PATH or the usual folders of root.
/// Empty if it is nowhere.
std::string find_program(const std::string& program);

struct ChildOptions {
  std::vector<std::string> arguments;  ///< the first is the path of the program
  int input = -1;                      ///< becomes standard input; -1 is /dev/null
  int output = -1;                     ///< becomes standard output and error; -1 is /dev/null
  int inherited = -1;                  ///< one more descriptor the child holds open, as number 3
  /// The child gets SIGTERM when the thread that starts it ends, however that happens: start it
  /// from a thread that lives as long as the child should.
  bool ends_with_thread = false;
};

/// Starts the program and returns its process id.  The caller keeps its descriptors, and must
/// wait for the child.
Result<pid_t> start_child(const ChildOptions& options);

/// "exit status 1" or "signal 9 (Killed)", of a status of waitpid().
std::string describe_exit(int status);

struct ProgramResult {
  int status = 0;      ///< of waitpid()
  std::string output;  ///< standard output and error together

  [[nodiscard]] bool succeeded() const { return status == 0; }
};

/// Runs a program to its end.  `input` must be at most 4096 bytes.
Result<ProgramResult> run_program(std::vector<std::string> arguments, std::string_view input = {});

/// A descriptor that stays with this one process (pidfd_open), readable when it has ended; -1 if
/// there is none.  The caller closes it.
int open_process(pid_t pid);
void signal_process(int descriptor, int signal);

/// When a process started, in clock ticks after boot: with its id this names it for ever.
/// Nothing if there is no such process.
std::optional<unsigned long long> process_start_time(pid_t pid);

}  // namespace paretod
