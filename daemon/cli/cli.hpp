#pragma once
// The command line: one binary that serves, and that talks to a serving one.  main.cpp gives the
// verbs that run inside this process; everything else is a client of the REST interface.
//
// Exit status: 0 all is well; 1 the daemon refused, or the watched job did not succeed; 2 the
// command line is wrong; 3 no daemon answers; 130 detached from a watch by Ctrl-C.  Errors go to
// the error stream, results to the output stream.

#include <functional>
#include <string>
#include <vector>

#include "daemon/cli/console.hpp"
#include "daemon/cli/serve_options.hpp"
#include "daemon/cli/work_options.hpp"

namespace paretod {

/// What the binary itself brings; each verb returns the exit status.
struct LocalCommands {
  std::string version;
  std::function<int(const ServeOptions&)> serve;
  std::function<int(const std::string& file)> replay;  ///< checks an exported log
  std::function<int(const WorkOptions&)> work;         ///< evaluates for a daemon elsewhere
};

int cli_main(int argc, const char* const* argv, const LocalCommands& local);

/// The same on given words (without the program's name) and streams, for tests.
int run_cli(const std::vector<std::string>& words, const LocalCommands& local,
            cli::Console& console);

}  // namespace paretod
