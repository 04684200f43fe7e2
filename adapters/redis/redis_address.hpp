#pragma once
// Where a Redis server is and how to log in.

#include <string>
#include <string_view>

#include "optimizers/core/result.hpp"

namespace paretod {

struct RedisAddress {
  std::string path = {};  ///< unix socket; if empty, host and port
  std::string host = {};
  int port = 6379;
  std::string user = {};      ///< empty: the default user
  std::string password = {};  ///< empty: no AUTH is sent
  int database = 0;

  /// For messages: never holds the password.
  [[nodiscard]] std::string text() const;
};

/// redis://[[user]:password@]host[:port][/database], and unix:///path or
/// redis+unix://[[user]:password@]/path[?db=n].  User, password and path may be percent-encoded;
/// an IPv6 host stands in brackets.  The error never repeats the password.
Result<RedisAddress> parse_redis_url(std::string_view url);

}  // namespace paretod
