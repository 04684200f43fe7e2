#include "adapters/redis/redis_address.hpp"

#include <charconv>
#include <optional>

namespace paretod {
namespace {

std::optional<int> parse_int(std::string_view text, int least, int most) {
  int value = 0;
  const char* const end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, value);
  if (error != std::errc() || stop != end || value < least || value > most) return std::nullopt;
  return value;
}

std::optional<std::string> percent_decode(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      out += text[i];
      continue;
    }
    if (i + 2 >= text.size()) return std::nullopt;
    unsigned value = 0;
    const char* const end = text.data() + i + 3;
    const auto [stop, error] = std::from_chars(text.data() + i + 1, end, value, 16);
    if (error != std::errc() || stop != end || value == 0) return std::nullopt;
    out += static_cast<char>(value);
    i += 2;
  }
  return out;
}

Error bad_url(const std::string& what) {
  return invalid(
      "the Redis URL " + what +
      "; write redis://[user:password@]host[:port][/database] or unix:///path/to/socket");
}

/// Takes "user:password@" off the front of `rest`, up to the last @ before the path.
std::optional<Error> take_login(std::string_view& rest, RedisAddress& address) {
  const std::size_t at = rest.substr(0, rest.find('/')).rfind('@');
  if (at == std::string_view::npos) return std::nullopt;
  const std::string_view login = rest.substr(0, at);
  rest.remove_prefix(at + 1);
  const std::size_t colon = login.find(':');
  if (colon == std::string_view::npos) {
    return bad_url("has a user without a password (':password' is missing before '@')");
  }
  const auto user = percent_decode(login.substr(0, colon));
  const auto password = percent_decode(login.substr(colon + 1));
  if (!user || !password) {
    return bad_url("has a user or password with a bad percent escape (write '%' as %25)");
  }
  address.user = *user;
  address.password = *password;
  return std::nullopt;
}

Result<RedisAddress> parse_unix(std::string_view rest) {
  RedisAddress address;
  if (auto error = take_login(rest, address)) return std::move(*error);
  const std::size_t question = rest.find('?');
  if (question != std::string_view::npos) {
    const std::string_view query = rest.substr(question + 1);
    const auto database =
        query.substr(0, 3) == "db=" ? parse_int(query.substr(3), 0, 1 << 20) : std::nullopt;
    if (!database) return bad_url("has a query that is not ?db=<number>");
    address.database = *database;
    rest = rest.substr(0, question);
  }
  const auto path = percent_decode(rest);
  if (!path || path->size() < 2 || path->front() != '/') {
    return bad_url("of a unix socket needs an absolute path");
  }
  address.path = *path;
  return address;
}

Result<RedisAddress> parse_tcp(std::string_view rest) {
  RedisAddress address;
  if (auto error = take_login(rest, address)) return std::move(*error);
  const std::size_t slash = rest.find('/');
  if (slash != std::string_view::npos) {
    const std::string_view name = rest.substr(slash + 1);
    const auto database = name.empty() ? std::optional<int>(0) : parse_int(name, 0, 1 << 20);
    if (!database) return bad_url("has a database that is not a number");
    address.database = *database;
    rest = rest.substr(0, slash);
  }
  std::size_t host_end = rest.find(':');
  if (rest.substr(0, 1) == "[") {
    const std::size_t bracket = rest.find(']');
    if (bracket == std::string_view::npos) return bad_url("has a '[' without ']'");
    address.host = rest.substr(1, bracket - 1);
    host_end = bracket + 1;
  } else {
    address.host = rest.substr(0, host_end);
  }
  if (address.host.empty()) return bad_url("has no host");
  if (host_end < rest.size()) {
    const auto port =
        rest[host_end] == ':' ? parse_int(rest.substr(host_end + 1), 1, 65535) : std::nullopt;
    if (!port) return bad_url("has a port that is not a number from 1 to 65535");
    address.port = *port;
  }
  return address;
}

}  // namespace

std::string RedisAddress::text() const {
  if (!path.empty()) return "unix://" + path;
  const bool is_ipv6 = host.find(':') != std::string::npos;
  return "redis://" + (is_ipv6 ? "[" + host + "]" : host) + ":" + std::to_string(port);
}

Result<RedisAddress> parse_redis_url(std::string_view url) {
  const std::size_t colon = url.find("://");
  if (colon == std::string_view::npos) return bad_url("has no scheme");
  const std::string_view scheme = url.substr(0, colon);
  const std::string_view rest = url.substr(colon + 3);
  if (scheme == "redis") return parse_tcp(rest);
  if (scheme == "unix" || scheme == "redis+unix") return parse_unix(rest);
  if (scheme == "rediss") {
    return bad_url("asks for TLS, which paretod does not speak; put a TLS tunnel in front");
  }
  return bad_url("has an unknown scheme");
}

}  // namespace paretod
