#pragma once
// Everything around the command line that is not the daemon: streams, terminal, environment and
// the pace of watching.  Passed down explicitly, so that tests bring their own.

#include <functional>
#include <iosfwd>
#include <optional>
#include <string>

namespace paretod::cli {

/// How `watch` spends its time; seconds.
struct WatchPace {
  double poll_s = 0.5;
  double plain_line_s = 5;  ///< between progress lines when the output is no terminal
  double patience_s = 300;  ///< how long a daemon that went away may stay away
};

struct Console {
  std::istream& in;
  std::ostream& out;
  std::ostream& err;
  bool terminal = false;       ///< whether `out` is one
  std::function<int()> width;  ///< columns, now
  std::function<std::optional<std::string>(const char*)> environment;
  WatchPace pace = {};
};

/// The process's own streams and environment.
Console system_console();

}  // namespace paretod::cli
