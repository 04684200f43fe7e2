#include "adapters/llm/refusal.hpp"

#include <algorithm>
#include <cmath>
#include <cstdlib>

#include "adapters/http/http_multi.hpp"
#include "adapters/json/parse.hpp"
#include "adapters/llm/reply_reader.hpp"

namespace paretod::llm {
namespace {

using nlohmann::json;

constexpr std::size_t longest_message = 500;

std::string printable(std::string_view text) {
  std::string out(text.substr(0, longest_message));
  std::replace_if(
      out.begin(), out.end(), [](char c) { return c < ' ' || c > '~'; }, '?');
  return out;
}

/// The envelopes differ: {"error":{"message","type","code"}}, {"error":"..","error_type":".."},
/// {"object":"error","message",..}, {"detail":".."}.
std::pair<std::string, std::string> message_and_code(const std::string& body) {
  const auto document = parse_json(body);
  if (!document) return {body, ""};
  const ReplyReader reader(*document);
  std::string message;
  for (const char* at : {"/error/message", "/error", "/message", "/detail"}) {
    if (message.empty()) message = reader.text_or(at, "");
  }
  std::string code;
  for (const char* at : {"/error/code", "/code", "/error/type", "/error_type", "/type"}) {
    if (code.empty()) code = reader.text_or(at, "");
  }
  return {message, code};
}

std::optional<double> wait_of(const HttpReply& reply) {
  if (const auto ms = reply.header("retry-after-ms")) {
    char* end = nullptr;
    const double value = std::strtod(ms->c_str(), &end);
    if (end != ms->c_str() && *end == '\0' && std::isfinite(value) && value >= 0) {
      return value / 1000;
    }
  }
  if (const auto seconds = reply.header("retry-after")) {
    char* end = nullptr;
    const double value = std::strtod(seconds->c_str(), &end);
    if (end != seconds->c_str() && *end == '\0' && std::isfinite(value) && value >= 0) return value;
  }
  return retry_after_s(reply);
}

RefusalKind kind_of(int status, const std::string& code) {
  if (code == "insufficient_quota") return RefusalKind::quota;
  if (status == 429) return RefusalKind::throttled;
  if (status == 503 || status == 529) return RefusalKind::overloaded;
  if (status == 408 || status == 409 || status >= 500) return RefusalKind::broken;
  return RefusalKind::refused;
}

}  // namespace

Refusal refusal_of(const HttpReply& reply) {
  const auto [message, code] = message_and_code(reply.body);
  Refusal out;
  out.kind = kind_of(reply.status, code);
  // The server may know better whether another try is worth it.
  if (const auto advice = reply.header("x-should-retry");
      advice && out.kind != RefusalKind::quota) {
    if (*advice == "true" && out.kind == RefusalKind::refused) out.kind = RefusalKind::broken;
    if (*advice == "false" && out.kind == RefusalKind::broken) out.kind = RefusalKind::refused;
  }
  out.message = "HTTP " + std::to_string(reply.status) +
                (code.empty() ? "" : ", " + printable(code)) + ": " + printable(message);
  out.retry_after_s = wait_of(reply);
  return out;
}

}  // namespace paretod::llm
