#pragma once
// One connection of the HTTP server: reads requests, has them answered, writes answers and event
// streams, within the server's limits.  For http_server.cpp.

#include <array>
#include <atomic>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/core/tcp_stream.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/string_body.hpp>
#include <cstddef>
#include <cstdint>
#include <list>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "daemon/rest/http_message.hpp"
#include "daemon/rest/http_server.hpp"

namespace paretod {

struct HttpCounts {
  std::atomic<std::uint64_t> accepted{0}, refused{0}, evicted{0}, deadlines{0}, requests{0},
      malformed{0}, failures{0}, resets{0}, too_many{0};
  std::array<std::atomic<std::uint64_t>, 5> responses{};
};

class HttpSession;

/// What a session needs of its server, which outlives it.  Called on the sessions' strands.
class HttpSessionHost {
 public:
  virtual ~HttpSessionHost() = default;
  [[nodiscard]] virtual const HttpLimits& limits() const = 0;
  [[nodiscard]] virtual const HttpHooks& hooks() const = 0;
  virtual HttpCounts& counts() = 0;
  /// Answers in progress are the last of their connections.
  [[nodiscard]] virtual bool draining() const = 0;
  [[nodiscard]] virtual bool host_allowed(const std::string& name) const = 0;
  /// The session waits for a request and may be evicted until it no longer does.
  virtual void waits_for_head(HttpSession& session) = 0;
  /// False if it was evicted meanwhile: what it read must not be acted on.
  virtual bool has_head(HttpSession& session) = 0;
  /// False if there are as many as there may be.
  virtual bool open_event_stream() = 0;
  virtual void close_event_stream() = 0;
  virtual void finished(HttpSession& session) = 0;
};

/// One connection.  Lives as long as one of its coroutines; every member is touched on the strand
/// of the stream only, except `place`, which belongs to the server's lock.
class HttpSession : public std::enable_shared_from_this<HttpSession> {
 public:
  /// The server's bookkeeping for this session.
  struct Place {
    boost::asio::ip::address address;
    bool admitted = false;
    bool refused = false;
    bool waiting = false;
    std::list<HttpSession*>::iterator in_waiting;
  };

  HttpSession(HttpSessionHost& server, boost::asio::ip::tcp::socket socket,
              const boost::asio::ip::address& address)
      : server_(server),
        stream_(std::move(socket)),
        wake_timer_(stream_.get_executor()),
        buffer_(server.limits().buffer_bytes),
        peer_(address.to_string()) {
    place.address = address;
  }

  void start();
  /// Sends one answer, whatever is asked, and closes.
  void start_refusal(HttpResponse response);

  // Any thread.
  void close();
  void drain();

  Place place;

 private:
  using Parser = boost::beast::http::request_parser<boost::beast::http::string_body>;

  static boost::asio::awaitable<void> run(std::shared_ptr<HttpSession> self);
  static boost::asio::awaitable<void> run_refusal(std::shared_ptr<HttpSession> self,
                                                  HttpResponse response);
  static boost::asio::awaitable<void> watch(std::shared_ptr<HttpSession> self);

  boost::asio::awaitable<void> serve();
  boost::asio::awaitable<bool> serve_one(bool first, bool last);
  boost::asio::awaitable<std::size_t> read_head(bool first);
  boost::asio::awaitable<std::optional<HttpResponse>> read_body(Parser& parser, std::size_t limit);
  boost::asio::awaitable<bool> send(const HttpResponse& response, bool head_only, bool keep_alive);
  boost::asio::awaitable<HttpResponse> wait_for(std::shared_ptr<DeferredResponse> deferred);
  boost::asio::awaitable<void> serve_events(const HttpRequest& request, HttpResponse response);
  boost::asio::awaitable<void> send_events(std::string head);
  boost::asio::awaitable<void> linger();

  std::optional<HttpResponse> parse_head(Parser& parser, std::size_t bytes, HttpRequest& request);
  std::optional<HttpResponse> check_caller(const HttpRequest& request) const;
  HttpResponse call_handler(const HttpRequest& request);
  BodyDecision call_before_body(const HttpRequest& request);
  HttpResponse hook_failed(const HttpRequest& request, const std::string& what);
  /// True if the operation went well; remembers missed deadlines.
  bool went_well(const boost::system::error_code& ec);

  HttpSessionHost& server_;
  boost::beast::tcp_stream stream_;
  boost::asio::steady_timer wake_timer_;
  boost::beast::flat_buffer buffer_;
  const std::string peer_;
  std::shared_ptr<EventStream> events_;
  bool quiet_ = false;   ///< between requests, nothing of the next one has arrived
  bool linger_ = false;  ///< the client may still be sending when the last answer is out
};

}  // namespace paretod
