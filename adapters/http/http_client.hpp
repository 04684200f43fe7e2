#pragma once
// A small blocking HTTP/1.1 client on libcurl's easy interface; this folder is the only place that
// knows libcurl.  One object owns one handle and keeps its connections open for reuse.  Not
// thread-safe: one thread at a time, one object per thread.
//
// Guards: http and https only, no redirects, no signals, no proxy for loopback hosts, a cap on what
// is kept of a response (counted here, since libcurl does not cap bodies of unknown length), no
// control characters in anything that becomes a request line or header.  Requests other than GET
// open a connection of their own: on a reused connection that dies before the first byte of the
// reply, libcurl would send them a second time.
//
// Failures are values: `invalid` for what was asked, `unavailable` for everything the network does
// (refused, timed out, broken off, cancelled), `exhausted` for a response above the cap.  A reply
// with any HTTP status is not a failure.

#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "optimizers/core/result.hpp"

namespace paretod {

struct HttpReply {
  int status = 0;
  std::vector<std::pair<std::string, std::string>> headers;  ///< names in lower case
  std::string body;

  /// First header of that name (given in lower case).
  [[nodiscard]] std::optional<std::string> header(std::string_view name) const;
};

struct HttpClientOptions {
  double connect_timeout_s = 5;
  double timeout_s = 30;       ///< a whole request(); streams have no such limit
  double idle_timeout_s = 60;  ///< a stream that brings nothing for so long is given up
  std::size_t max_body = std::size_t{256} << 20;   ///< bytes
  std::size_t max_header = std::size_t{64} << 10;  ///< bytes, all header fields together
  std::string user_agent = "paretod";
  /// Asked about once a second, and whenever data moves; true gives the request up.
  std::function<bool()> cancelled;
};

class HttpClient {
 public:
  using Headers = std::vector<std::pair<std::string, std::string>>;
  /// Takes a piece of a body; false ends the stream, which is then no failure.
  using Sink = std::function<bool(std::string_view)>;

  explicit HttpClient(HttpClientOptions options = {});
  ~HttpClient();
  HttpClient(HttpClient&&) noexcept;
  HttpClient& operator=(HttpClient&&) noexcept;

  /// `method` is an upper-case token; the body is sent unless the method is GET or HEAD.
  Result<HttpReply> request(std::string_view method, const std::string& url,
                            const Headers& headers = {}, std::string_view body = {});

  /// GET whose body goes to `sink` as it arrives (server-sent events, exports).  Only a 2xx body
  /// is streamed; any other is returned in the reply, as request() would.
  Result<HttpReply> stream(const std::string& url, const Headers& headers, const Sink& sink);

 private:
  class Transfer;
  struct Handle;
  HttpClientOptions options_;
  std::unique_ptr<Handle> handle_;
};

/// Percent-encodes everything but the unreserved characters of RFC 3986.
std::string url_escape(std::string_view text);

}  // namespace paretod
