#include "daemon/rest/http_rules.hpp"

#include <algorithm>
#include <array>
#include <boost/beast/http/status.hpp>
#include <ctime>
#include <utility>

namespace paretod {
namespace {

std::size_t count_fields(const HttpRequest& request, std::string_view name) {
  return static_cast<std::size_t>(
      std::count_if(request.headers.begin(), request.headers.end(),
                    [name](const auto& field) { return field.first == name; }));
}

std::string http_date() {
  const std::time_t now = std::time(nullptr);
  std::tm parts{};
  gmtime_r(&now, &parts);
  std::array<char, 40> text{};
  const std::size_t size =
      std::strftime(text.data(), text.size(), "%a, %d %b %Y %H:%M:%S GMT", &parts);
  return {text.data(), size};
}

bool has_line_end(std::string_view text) {
  return text.find_first_of("\r\n") != text.npos;
}

}  // namespace

std::string lower(std::string_view text) {
  std::string out(text);
  for (char& c : out) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return out;
}

HttpResponse bad_request(std::string_view detail) {
  return problem_response(400, "/problems/bad-request", "Bad request", detail);
}

HttpResponse payload_too_large(std::size_t limit) {
  return problem_response(413, "/problems/payload-too-large", "Payload too large",
                          "The body may have at most " + std::to_string(limit) + " bytes.");
}

HttpResponse no_room(std::string_view detail) {
  HttpResponse response =
      problem_response(503, "/problems/too-many-connections", "Too many connections", detail);
  response.headers.emplace_back("Retry-After", "1");
  return response;
}

std::optional<HttpResponse> check_lines(std::string_view head) {
  for (std::size_t i = 0; i < head.size(); ++i) {
    const auto byte = static_cast<unsigned char>(head[i]);
    if (head[i] == '\r') {
      if (i + 1 == head.size() || head[i + 1] != '\n') return bad_request("A stray CR.");
    } else if (head[i] == '\n') {
      if (i == 0 || head[i - 1] != '\r') return bad_request("A stray LF.");
      if (i + 1 < head.size() && (head[i + 1] == ' ' || head[i + 1] == '\t')) {
        return bad_request("A header field is folded over two lines.");
      }
    } else if ((byte < 0x20 && head[i] != '\t') || byte == 0x7f) {
      return bad_request("A control character in the header.");
    }
  }
  return std::nullopt;
}

std::optional<HttpResponse> check_framing(const HttpRequest& request, unsigned version) {
  for (const std::string_view name : {"host", "content-length", "transfer-encoding", "content-type",
                                      "content-encoding", "authorization", "origin", "expect"}) {
    if (count_fields(request, name) > 1) {
      return bad_request("The header field " + std::string(name) + " is repeated.");
    }
  }
  if (!request.header("host")) return bad_request("The header field host is missing.");
  const auto coding = request.header("transfer-encoding");
  const auto length = request.header("content-length");
  if (coding) {
    if (lower(*coding) != "chunked") {
      return bad_request("Transfer-Encoding must be exactly chunked.");
    }
    if (length) return bad_request("Transfer-Encoding and Content-Length exclude each other.");
    if (version < 11) return bad_request("HTTP/1.0 has no Transfer-Encoding.");
  }
  if (length && (length->empty() || length->find_first_not_of("0123456789") != length->npos)) {
    return bad_request("Content-Length must be one number.");
  }
  return std::nullopt;
}

std::optional<std::string> host_name(std::string_view field) {
  std::size_t end = std::min(field.find(':'), field.size());
  if (!field.empty() && field.front() == '[') {
    end = field.find(']');
    if (end == field.npos) return std::nullopt;
    ++end;
  }
  const std::string_view name = field.substr(0, end);
  std::string_view port = field.substr(end);
  if (!port.empty()) {
    if (port.front() != ':') return std::nullopt;
    port.remove_prefix(1);
    if (port.size() > 5 || port.find_first_not_of("0123456789") != port.npos) return std::nullopt;
  }
  const bool plain = std::all_of(name.begin(), name.end(), [](char c) {
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') ||
           std::string_view("-._:[]").find(c) != std::string_view::npos;
  });
  if (name.empty() || !plain) return std::nullopt;
  return lower(name);
}

bool is_json(std::string_view content_type) {
  std::string type = lower(content_type.substr(0, content_type.find(';')));
  while (!type.empty() && (type.back() == ' ' || type.back() == '\t')) type.pop_back();
  if (type == "application/json") return true;
  constexpr std::string_view prefix = "application/";
  constexpr std::string_view suffix = "+json";
  return type.size() > prefix.size() + suffix.size() &&
         type.compare(0, prefix.size(), prefix) == 0 &&
         type.compare(type.size() - suffix.size(), suffix.size(), suffix) == 0;
}

bool has_no_content(int status) {
  return status == 204 || status == 304 || status < 200;
}

std::string format_head(const HttpResponse& response, bool keep_alive) {
  const auto reason = boost::beast::http::obsolete_reason(
      boost::beast::http::int_to_status(static_cast<unsigned>(response.status)));
  std::string head = "HTTP/1.1 " + std::to_string(response.status) + " ";
  head.append(reason.data(), reason.size());
  head += "\r\nDate: " + http_date() + "\r\nX-Content-Type-Options: nosniff\r\n";
  bool caching = false;
  for (const auto& [name, value] : response.headers) {
    // A value taken from a request must not start a field of its own.
    if (has_line_end(name) || has_line_end(value)) continue;
    caching = caching || lower(name) == "cache-control";
    head += name + ": " + value + "\r\n";
  }
  if (!caching) head += "Cache-Control: no-store\r\n";
  if (!response.content_type.empty() && !has_line_end(response.content_type)) {
    head += "Content-Type: " + response.content_type + "\r\n";
  }
  if (!response.stream && !has_no_content(response.status)) {
    head += "Content-Length: " + std::to_string(response.body.size()) + "\r\n";
  }
  if (!keep_alive) head += "Connection: close\r\n";
  return head + "\r\n";
}

}  // namespace paretod
