#pragma once
// Bounded parsing of JSON that comes from outside (requests, evaluators, files).  Pure functions;
// any thread.  RFC 8259 for the grammar, RFC 6901 for pointers.

#include <cstddef>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>

#include "optimizers/core/result.hpp"

namespace paretod {

/// What one document may cost.  A node is any value, containers included; `string_bytes` bounds
/// each string and each key.
struct JsonLimits {
  std::size_t depth = 32;
  std::size_t nodes = 100'000;
  std::size_t string_bytes = 64 * 1024;
};

/// The document, or why not: syntax errors name line and column; a repeated key or an exceeded
/// limit is a problem that points at its place.  Refuses NaN, numbers beyond double, invalid
/// UTF-8 and trailing bytes.  The error text is printable ASCII.
Result<nlohmann::json> parse_json(std::string_view text, const JsonLimits& limits = {});

/// One reference token of a JSON pointer: "~" and "/" escaped.
std::string pointer_token(std::string_view key);

}  // namespace paretod
