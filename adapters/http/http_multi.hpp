#pragma once
// Many HTTP requests at once on one thread (libcurl's multi interface), for URLs that an operator
// configured.  Guards: http and https only, no redirects, no proxy, caps on header and body, and
// addresses are judged after name resolution (address_rule.hpp).  No request is ever sent twice:
// where libcurl would repeat one on a fresh connection, it fails instead.

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "adapters/http/http_client.hpp"

namespace paretod {

struct HttpTask {
  std::string method = "GET";
  std::string url;
  HttpClient::Headers headers = {};
  /// More of them, which many requests have in common.
  std::shared_ptr<const HttpClient::Headers> common_headers = {};
  std::string body = {};
  double timeout_s = 60;
  /// On a connection of its own: one that was kept open may die under it.
  bool fresh = false;
};

struct HttpOutcome {
  enum class Kind {
    reply,     ///< with any status
    not_sent,  ///< nothing has reached the server
    broken,    ///< timed out or cut off; the server may have worked on it
    refused,   ///< our own guards: address, size, header
  };
  Kind kind = Kind::broken;
  HttpReply reply = {};
  std::string reason = {};        ///< unless `reply`
  std::string request_body = {};  ///< given back
};

struct HttpMultiOptions {
  double connect_timeout_s = 10;
  std::size_t max_body = std::size_t{1} << 20;     ///< bytes
  std::size_t max_header = std::size_t{16} << 10;  ///< bytes, all header fields together
  /// Loopback and private networks.  A URL whose host is an address or "localhost" names such a
  /// place itself and needs no permission; a name that resolves to one does.
  bool allow_internal = false;
  /// A kept connection that was idle for longer is not used again: servers close theirs after a few
  /// seconds, and a request that meets the closing is lost.
  double longest_idle_s = 4;
};

class HttpMulti {
 public:
  /// Called on the client's thread; must not block.
  using Done = std::function<void(HttpOutcome)>;

  explicit HttpMulti(HttpMultiOptions options);
  /// Gives everything up; nothing is called after it returns.
  ~HttpMulti();
  HttpMulti(const HttpMulti&) = delete;
  HttpMulti& operator=(const HttpMulti&) = delete;

  /// Any thread.  `done` is called once.
  std::uint64_t start(HttpTask task, Done done);
  /// Any thread.  Its outcome is `broken`; nothing happens to one that has ended.
  void cancel(std::uint64_t id);
  /// Any thread.  Calls `action` on the client's thread.
  void after(double seconds, std::function<void()> action);

 private:
  class Loop;
  std::unique_ptr<Loop> loop_;
};

/// "Retry-After", as seconds from now or as a date; not negative.
std::optional<double> retry_after_s(const HttpReply& reply);

/// The URL that `location` means as seen from `base`, if scheme, host and port stay the same.
std::optional<std::string> same_origin(const std::string& base, const std::string& location);

}  // namespace paretod
