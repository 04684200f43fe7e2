#pragma once
// Entity tags of answers to queries (RFC 9110 section 8.8.3).  Pure functions; any thread.

#include <string>
#include <string_view>

#include "daemon/rest/http_message.hpp"

namespace paretod {

/// Whether an If-None-Match field lists the tag (weak comparison, RFC 9110 section 13.1.2).
bool lists_tag(std::string_view field, std::string_view tag);

/// The same question, however it was sent, has the same text.
std::string query_digest(const NameValues& query);

}  // namespace paretod
