#pragma once
// What `paretod serve` was told on its command line.  Whatever is absent comes from the
// configuration file or its defaults.

#include <cstdint>
#include <optional>
#include <string>

namespace paretod {

struct ServeOptions {
  std::optional<std::string> config_file = {};
  std::optional<std::string> state_dir = {};
  std::optional<std::uint16_t> port = {};
  std::optional<std::string> redis_url = {};
  bool quiet = false;  ///< warnings and errors only
};

}  // namespace paretod
