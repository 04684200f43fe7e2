#pragma once
// Lenient reading of the daemon's replies: what is absent or of another type is simply not shown.
// Text comes out printable, since names and reasons may stem from evaluators.  Pure functions.

#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>

namespace paretod::cli {

/// Keeps the order of keys, so that --json shows what the daemon sent.
using Json = nlohmann::ordered_json;

/// The member, or a null value when there is none or `object` is no object.
const Json& at(const Json& object, std::string_view key);
/// The member as printable text; "" when it is no string.
std::string text_at(const Json& object, std::string_view key);
std::optional<double> number_at(const Json& object, std::string_view key);
/// As a count; 0 when absent or negative.
std::uint64_t count_at(const Json& object, std::string_view key);

/// UTF-8 text without control characters, which a terminal might obey; line breaks become spaces.
std::string printable(std::string_view text);

}  // namespace paretod::cli
