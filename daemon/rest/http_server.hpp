#pragma once
// The HTTP/1.1 server: it reads requests under hard limits and deadlines, refuses every doubtful
// framing, and writes what the handler answers.  It knows nothing about jobs.  Limits come from
// the project's threat model; framing rules from RFC 9112 sections 3, 6 and 11.2.
//
// Every connection is a coroutine on its own strand; requests of one connection are served one
// after the other.  A request is refused by the server itself, with a problem document
// (RFC 9457) and without reaching the handler, if
//   - the head or the body is too large (431, 414, 413) or malformed (400; the connection closes)
//   - the framing is anything but one Content-Length or one "Transfer-Encoding: chunked" (400)
//   - Host is missing, repeated (400) or, on a loopback bind, not a known name (421)
//   - a browser sends it from another origin (403) or a body is not JSON (415)
// There are no CORS headers.  Connections past a deadline are closed without an answer.

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "daemon/rest/http_message.hpp"
#include "optimizers/core/result.hpp"

namespace paretod {

struct HttpLimits {
  std::size_t header_bytes = 8 * 1024;  ///< request line and fields together
  std::size_t header_fields = 64;
  std::size_t target_bytes = 2 * 1024;
  std::size_t buffer_bytes = 16 * 1024;  ///< above header_bytes; bounds extensions and trailers
  std::size_t body_bytes = 64 * 1024;    ///< where no BeforeBody says otherwise

  std::chrono::milliseconds header_deadline{5'000};   ///< from accept or a request's first byte
  std::chrono::milliseconds body_deadline{15'000};    ///< for the whole body
  std::chrono::milliseconds idle_deadline{30'000};    ///< between requests
  std::chrono::milliseconds write_deadline{10'000};   ///< for each piece of at most 256 KiB
  std::chrono::milliseconds answer_deadline{60'000};  ///< for a deferred response
  std::chrono::milliseconds linger{1'000};            ///< reading on after a final answer

  std::size_t connections = 2'048;
  std::size_t connections_per_address = 64;
  std::size_t connections_per_loopback = 1'024;
  std::size_t requests_per_connection = 1'000;

  std::size_t event_streams = 500;
  std::chrono::milliseconds event_keep_alive{15'000};
};

/// What is decided from the head alone, before any of the body is read.
struct BodyDecision {
  std::size_t limit = 64 * 1024;        ///< bytes
  std::optional<HttpResponse> refusal;  ///< answered at once; the body is not read
};

/// All are called on server threads, several at a time; they may take milliseconds, not more.
struct HttpHooks {
  /// Answers a complete request.  An exception becomes a bare 500.
  std::function<HttpResponse(const HttpRequest&)> handler;
  /// May be empty.  Sees every request before its body: the place to check credentials.
  std::function<BodyDecision(const HttpRequest& head)> before_body;
  /// May be empty.  Told what a hook threw, for the log; the client never sees it.
  std::function<void(const HttpRequest&, const std::string& what)> failed;
};

struct HttpCounters {
  std::uint64_t connections_open = 0;
  std::uint64_t connections_accepted = 0;
  std::uint64_t connections_refused = 0;  ///< too many in all or from one address
  std::uint64_t connections_evicted = 0;  ///< made room while waiting for a request
  std::uint64_t deadlines_missed = 0;
  std::uint64_t requests = 0;            ///< given to the handler
  std::uint64_t requests_malformed = 0;  ///< answered 400 by the server itself
  std::uint64_t handler_failures = 0;
  std::array<std::uint64_t, 5> responses{};  ///< by class: [0] is 1xx ... [4] is 5xx
  std::uint64_t responses_429 = 0;           ///< too fast, or no room for more jobs
  std::uint64_t event_streams_open = 0;
  std::uint64_t event_streams_reset = 0;  ///< clients that lagged too far behind
};

/// Life: listen, start, then drain and stop, or just stop.  All methods are for one owning thread
/// that is not a server thread, except counters(), which any thread may call.
class HttpServer {
 public:
  /// Throws std::invalid_argument without a handler or if buffer_bytes <= header_bytes.
  /// `host_names` are accepted in Host besides localhost, 127.0.0.1, [::1] and the bound address.
  /// A bind outside loopback with no such names accepts every well-formed Host.
  explicit HttpServer(HttpHooks hooks, HttpLimits limits = {},
                      std::vector<std::string> host_names = {});
  ~HttpServer();
  HttpServer(const HttpServer&) = delete;
  HttpServer& operator=(const HttpServer&) = delete;

  /// `address` is numeric or "localhost"; port 0 picks a free one.  The error says what to do.
  [[nodiscard]] Result<void> listen(const std::string& address, std::uint16_t port);
  /// Precondition: listening.
  [[nodiscard]] std::uint16_t port() const;
  /// Precondition: listening, not started.
  void start(int threads);

  /// New connections are refused from shortly after this call on; present ones go on.
  void stop_accepting();
  /// Stops accepting, closes idle connections and event streams, lets requests in progress end.
  /// True if no connection is left, false if some are when the time is over.
  bool drain(std::chrono::milliseconds timeout);
  /// Closes everything and joins the threads; a handler in progress is waited for.
  void stop();

  [[nodiscard]] HttpCounters counters() const;

  class Impl;  ///< of the source file only

 private:
  std::unique_ptr<Impl> impl_;
};

}  // namespace paretod
