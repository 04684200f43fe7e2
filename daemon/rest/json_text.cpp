#include "daemon/rest/json_text.hpp"

#include <cstdio>
#include <ctime>
#include <nlohmann/json.hpp>

namespace paretod {

std::string to_text(const nlohmann::json& document) {
  return document.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
}

std::string time_text(std::int64_t since_epoch_ms) {
  std::int64_t seconds = since_epoch_ms / 1000;
  std::int64_t rest = since_epoch_ms % 1000;
  if (rest < 0) {
    rest += 1000;
    --seconds;
  }
  const auto time = static_cast<std::time_t>(seconds);
  std::tm parts{};
  gmtime_r(&time, &parts);
  char text[80];
  const int size = std::snprintf(text, sizeof text, "%04d-%02d-%02dT%02d:%02d:%02d.%03dZ",
                                 parts.tm_year + 1900, parts.tm_mon + 1, parts.tm_mday,
                                 parts.tm_hour, parts.tm_min, parts.tm_sec, static_cast<int>(rest));
  return {text, static_cast<std::size_t>(size)};
}

}  // namespace paretod
