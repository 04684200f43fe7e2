#pragma once
// What `paretod worker` was told on its command line.

#include <cstddef>
#include <optional>
#include <string>

namespace paretod {

struct WorkOptions {
  std::string url;    ///< of the daemon
  std::string token;  ///< empty: none
  std::string evaluator;
  std::optional<std::string> config_file;
  std::optional<std::string> state_dir;
  std::optional<std::string> name;
  std::optional<std::size_t> slots;
  std::string job;  ///< empty: any
  double grace_s = 30;
  std::optional<double> idle_exit_s;
};

}  // namespace paretod
