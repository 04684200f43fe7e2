#pragma once
// What the HTTP server demands of a request's head and how it writes a response's: functions of
// text, free of any connection (RFC 9112 sections 3, 6 and 11.2).  Any thread.

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

#include "daemon/rest/http_message.hpp"

namespace paretod {

/// ASCII letters only.
std::string lower(std::string_view text);

HttpResponse bad_request(std::string_view detail);
HttpResponse payload_too_large(std::size_t limit);
HttpResponse no_room(std::string_view detail);

/// Beast repairs or overlooks what a stricter peer would reject, which is how two parsers come to
/// disagree about where a request ends: folded fields, stray line ends, control characters.
std::optional<HttpResponse> check_lines(std::string_view head);

/// One way to say where the body ends, and fields that must be unique are.  `version` is 10 or 11.
std::optional<HttpResponse> check_framing(const HttpRequest& request, unsigned version);

/// The host of "host", "host:port" or "[v6]:port" in lower case; nothing if malformed.
std::optional<std::string> host_name(std::string_view field);

/// application/json or application/SOMETHING+json, with or without parameters.
bool is_json(std::string_view content_type);

bool has_no_content(int status);

/// Status line and fields, with the empty line that ends them.
std::string format_head(const HttpResponse& response, bool keep_alive);

}  // namespace paretod
