#pragma once
// The fast half of parse_json: reads documents that are plainly right, several times faster than
// the library's parser, and leaves everything else (errors, limits, characters beyond ASCII) to the
// careful half, which says what is wrong.  Pure function; any thread.

#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string_view>

#include "adapters/json/parse.hpp"

namespace paretod {

/// What parse_json gives, or nothing where that takes a closer look.
std::optional<nlohmann::json> parse_json_quickly(std::string_view text, const JsonLimits& limits);

}  // namespace paretod
