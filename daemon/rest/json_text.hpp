#pragma once
// How values are written everywhere in the API.  Pure functions; any thread.

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>

namespace paretod {

/// One line, ended.  Text that is not UTF-8 is repaired, since evaluators may report anything.
std::string to_text(const nlohmann::json& document);

/// RFC 3339 in UTC with milliseconds: "2026-01-31T12:00:00.250Z".
std::string time_text(std::int64_t since_epoch_ms);

}  // namespace paretod
