#pragma once
// What a command has at hand while it runs, and the exit statuses.

#include <string>

#include "daemon/cli/arguments.hpp"
#include "daemon/cli/console.hpp"
#include "daemon/cli/daemon_api.hpp"
#include "daemon/cli/result_view.hpp"

namespace paretod::cli {

enum ExitStatus {
  exit_ok = 0,
  exit_refused = 1,
  exit_usage = 2,
  exit_unreachable = 3,
  exit_detached = 130
};

struct Session {
  const Arguments& arguments;
  Console& console;
  DaemonApi& api;
  /// Options that a suggested command needs to reach the same daemon: "" or " --url ...".
  std::string reach;

  [[nodiscard]] bool json() const { return arguments.has("--json"); }
  [[nodiscard]] Page page() const;
};

void print(std::ostream& out, const Lines& lines);
/// Text that ends with exactly one line break.
void print_document(std::ostream& out, const std::string& text);

/// Prints the error; the exit status that it stands for.
int fail(Console& console, const Error& error);
/// Prints what is wrong with the command line; exit_usage.
int fail_usage(Console& console, const std::string& message);

}  // namespace paretod::cli
