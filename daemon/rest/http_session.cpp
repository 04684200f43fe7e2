#include "daemon/rest/http_session.hpp"

#include <algorithm>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/http/read.hpp>
#include <exception>
#include <limits>
#include <string_view>
#include <vector>

#include "daemon/rest/http_rules.hpp"

namespace paretod {
namespace {

namespace net = boost::asio;
namespace beast = boost::beast;
namespace http = boost::beast::http;
using boost::system::error_code;
using tcp = net::ip::tcp;

constexpr std::size_t read_piece_bytes = 4 * 1024;
constexpr std::size_t write_piece_bytes = 256 * 1024;
constexpr std::size_t event_batch_bytes = 64 * 1024;
constexpr std::size_t linger_bytes = 1024 * 1024;
constexpr std::string_view head_end = "\r\n\r\n";

std::string_view as_view(boost::beast::string_view text) {
  return {text.data(), text.size()};
}

std::string_view as_view(const beast::flat_buffer& buffer) {
  const auto data = buffer.data();
  return {static_cast<const char*>(data.data()), data.size()};
}

}  // namespace

void HttpSession::start() {
  net::co_spawn(stream_.get_executor(), run(shared_from_this()), net::detached);
}

void HttpSession::start_refusal(HttpResponse response) {
  net::co_spawn(stream_.get_executor(), run_refusal(shared_from_this(), std::move(response)),
                net::detached);
}

void HttpSession::close() {
  net::post(stream_.get_executor(), [self = shared_from_this()] {
    if (self->events_) self->events_->client_gone();
    self->stream_.close();
    self->wake_timer_.cancel();
  });
}

void HttpSession::drain() {
  net::post(stream_.get_executor(), [self = shared_from_this()] {
    if (self->events_) self->events_->close();
    if (self->quiet_) self->stream_.close();
  });
}

bool HttpSession::went_well(const error_code& ec) {
  if (ec == beast::error::timeout) ++server_.counts().deadlines;
  return !ec;
}

// What arrives in the catch is lack of memory: this connection ends, the others go on.
net::awaitable<void> HttpSession::run(std::shared_ptr<HttpSession> self) {
  try {
    co_await self->serve();
  } catch (...) {
    self->stream_.close();
  }
  self->stream_.close();
  self->server_.finished(*self);
}

net::awaitable<void> HttpSession::run_refusal(std::shared_ptr<HttpSession> self,
                                              HttpResponse response) {
  try {
    // g++ 12 makes a wrong coroutine of an await in an if condition that guards another.
    const bool sent = co_await self->send(response, false, false);
    if (sent) {
      co_await self->linger();
    }
  } catch (...) {
    self->stream_.close();
  }
  self->stream_.close();
  self->server_.finished(*self);
}

net::awaitable<void> HttpSession::serve() {
  const std::size_t most = server_.limits().requests_per_connection;
  for (std::size_t number = 1; number <= most; ++number) {
    const bool again = co_await serve_one(number == 1, number == most);
    if (!again || server_.draining()) break;
  }
  if (linger_) {
    co_await linger();
  }
}

/// One request and its answer; true if another may follow on this connection.
net::awaitable<bool> HttpSession::serve_one(bool first, bool last) {
  server_.waits_for_head(*this);
  const std::size_t head_bytes = co_await read_head(first);
  if (!server_.has_head(*this) || head_bytes == 0) co_return false;

  HttpRequest request;
  request.peer = peer_;
  Parser parser;
  // The true limit is set once the head is known; 1.74 takes "none" as zero.
  parser.body_limit(std::numeric_limits<std::uint64_t>::max());
  parser.header_limit(static_cast<std::uint32_t>(server_.limits().buffer_bytes));

  std::optional<HttpResponse> refusal = parse_head(parser, head_bytes, request);
  if (!refusal) refusal = check_caller(request);
  bool keep_alive = !refusal && parser.get().version() == 11 && parser.keep_alive() && !last;
  const bool head_only = request.method == "HEAD";
  BodyDecision decision;
  decision.limit = server_.limits().body_bytes;
  if (!refusal && server_.hooks().before_body) {
    decision = call_before_body(request);
    refusal = std::move(decision.refusal);
  }
  const bool has_body = !parser.is_done();
  if (!refusal && has_body) {
    refusal = co_await read_body(parser, decision.limit);
  }
  if (refusal) {
    if (refusal->status == 400) ++server_.counts().malformed;
    // An unread body would be taken for the next request.
    keep_alive = keep_alive && !has_body;
    linger_ = !keep_alive;
    const bool sent = co_await send(*refusal, head_only, keep_alive);
    if (!sent) linger_ = false;
    co_return sent&& keep_alive;
  }
  if (!stream_.socket().is_open()) co_return false;

  request.body = std::move(parser.get().body());
  ++server_.counts().requests;
  HttpResponse response;
  if (request.method == "OPTIONS" && request.path == "*") {
    response.status = 204;
  } else {
    response = call_handler(request);
  }
  if (response.deferred) {
    response = co_await wait_for(std::move(response.deferred));
  }
  if (response.stream) {
    response.content_type = "text/event-stream";
    response.body.clear();
    if (head_only) {
      response.stream->client_gone();
      response.stream.reset();
    } else if (server_.open_event_stream()) {
      co_await serve_events(request, std::move(response));
      co_return false;
    } else {
      response.stream->client_gone();
      response = no_room("There are as many event streams as this server allows.");
    }
  }
  keep_alive = keep_alive && !server_.draining();
  linger_ = !keep_alive;
  const bool sent = co_await send(response, head_only, keep_alive);
  if (!sent) linger_ = false;
  co_return sent&& keep_alive;
}

/// Bytes of the head at the front of the buffer, or of as much as the limits allow if its end is
/// not among them; 0 if the connection is over.
net::awaitable<std::size_t> HttpSession::read_head(bool first) {
  const HttpLimits& limits = server_.limits();
  quiet_ = buffer_.size() == 0;
  stream_.expires_after(quiet_ && !first ? limits.idle_deadline : limits.header_deadline);
  if (server_.draining() && quiet_) co_return 0;
  std::size_t searched = 0;
  for (;;) {
    const std::string_view text = as_view(buffer_);
    const std::size_t end = text.find(head_end, searched);
    if (end != text.npos) co_return end + head_end.size();
    if (text.size() > limits.header_bytes) co_return text.size();
    searched = text.size() < head_end.size() ? 0 : text.size() - head_end.size() + 1;
    const std::size_t room = std::min(read_piece_bytes, limits.buffer_bytes - text.size());
    error_code ec;
    const std::size_t got = co_await stream_.async_read_some(
        buffer_.prepare(room), net::redirect_error(net::use_awaitable, ec));
    if (!went_well(ec)) co_return 0;
    buffer_.commit(got);
    if (quiet_) {
      quiet_ = false;
      if (!first) stream_.expires_after(limits.header_deadline);
    }
  }
}

/// Moves the head from the buffer into the parser and the request, or says what is wrong with it.
std::optional<HttpResponse> HttpSession::parse_head(Parser& parser, std::size_t bytes,
                                                    HttpRequest& request) {
  const HttpLimits& limits = server_.limits();
  const std::string_view head = as_view(buffer_).substr(0, bytes);
  const std::size_t first_line = head.find("\r\n");
  const auto target_too_long = [&] {
    return problem_response(
        414, "/problems/target-too-long", "Request target too long",
        "The target may have at most " + std::to_string(limits.target_bytes) + " bytes.");
  };
  if (bytes > limits.header_bytes) {
    if (first_line == head.npos) return target_too_long();
    return problem_response(
        431, "/problems/header-too-large", "Request header too large",
        "The header may have at most " + std::to_string(limits.header_bytes) + " bytes.");
  }
  if (auto refusal = check_lines(head)) return refusal;

  error_code ec;
  const std::size_t used = parser.put(net::buffer(head.data(), head.size()), ec);
  if (ec == http::error::bad_version) {
    return problem_response(505, "/problems/http-version", "HTTP version not supported",
                            "This server speaks HTTP/1.1.");
  }
  if (ec || !parser.is_header_done() || used != bytes) {
    return bad_request("The request head is malformed.");
  }
  const auto& fields = parser.get();
  if (fields.target().size() > limits.target_bytes) return target_too_long();
  request.method = as_view(fields.method_string());
  for (const auto& field : fields) {
    request.headers.emplace_back(lower(as_view(field.name_string())),
                                 std::string(as_view(field.value())));
  }
  if (request.headers.size() > limits.header_fields) {
    return problem_response(
        431, "/problems/header-too-large", "Request header too large",
        "There may be at most " + std::to_string(limits.header_fields) + " header fields.");
  }
  if (auto refusal = check_framing(request, fields.version())) return refusal;
  if (request.method == "OPTIONS" && fields.target() == "*") {
    request.path = "*";
  } else if (!parse_target(as_view(fields.target()), request)) {
    return bad_request("The request target must be a path, with correct percent-encoding.");
  }
  buffer_.consume(bytes);
  return std::nullopt;
}

/// Keeps web pages on this machine, and names rebound to it, from driving the daemon.
std::optional<HttpResponse> HttpSession::check_caller(const HttpRequest& request) const {
  const std::string host = *request.header("host");
  const auto name = host_name(host);
  if (!name) return bad_request("The header field host is malformed.");
  if (!server_.host_allowed(*name)) {
    return problem_response(421, "/problems/host-not-allowed", "Misdirected request",
                            "This server does not answer for the host " + *name +
                                "; add it to the allowed host names.");
  }
  const auto origin = request.header("origin");
  const bool safe =
      request.method == "GET" || request.method == "HEAD" || request.method == "OPTIONS";
  if (origin && !safe && *origin != "http://" + host && *origin != "https://" + host) {
    return problem_response(403, "/problems/cross-origin", "Forbidden",
                            "Requests from pages of another origin are not accepted.");
  }
  return std::nullopt;
}

/// Reads the whole body into the parser, or says why not.
net::awaitable<std::optional<HttpResponse>> HttpSession::read_body(Parser& parser,
                                                                   std::size_t limit) {
  const auto& fields = parser.get();
  if (!is_json(as_view(fields[http::field::content_type]))) {
    co_return problem_response(415, "/problems/unsupported-media-type", "Unsupported media type",
                               "A body must have the content type application/json.");
  }
  if (!fields[http::field::content_encoding].empty()) {
    co_return problem_response(415, "/problems/unsupported-media-type", "Unsupported media type",
                               "A body must not be compressed.");
  }
  const auto length = parser.content_length();
  if (length && *length > limit) co_return payload_too_large(limit);
  parser.body_limit(limit);

  stream_.expires_after(server_.limits().body_deadline);
  const std::string expect = lower(as_view(fields[http::field::expect]));
  error_code ec;
  if (!expect.empty()) {
    if (expect != "100-continue") {
      co_return problem_response(417, "/problems/expectation-failed", "Expectation failed",
                                 "The only expectation this server meets is 100-continue.");
    }
    if (fields.version() == 11 && buffer_.size() == 0) {
      static constexpr std::string_view go_on = "HTTP/1.1 100 Continue\r\n\r\n";
      co_await net::async_write(stream_, net::buffer(go_on.data(), go_on.size()),
                                net::redirect_error(net::use_awaitable, ec));
      if (went_well(ec)) ++server_.counts().responses[0];
    }
  }
  if (!ec) {
    co_await http::async_read(stream_, buffer_, parser,
                              net::redirect_error(net::use_awaitable, ec));
  }
  if (!ec) co_return std::nullopt;
  if (ec == http::error::body_limit) co_return payload_too_large(limit);
  if (ec.category() == make_error_code(http::error::bad_chunk).category() &&
      ec != http::error::end_of_stream && ec != http::error::partial_message) {
    co_return bad_request("The body is malformed.");
  }
  // The connection is broken or too slow: nobody is there to read an answer.
  went_well(ec);
  stream_.close();
  co_return std::nullopt;
}

HttpResponse HttpSession::hook_failed(const HttpRequest& request, const std::string& what) {
  ++server_.counts().failures;
  if (server_.hooks().failed) server_.hooks().failed(request, what);
  return problem_response(500, "/problems/internal", "Internal error",
                          "The request could not be answered because of a defect; see the log.");
}

HttpResponse HttpSession::call_handler(const HttpRequest& request) {
  try {
    return server_.hooks().handler(request);
  } catch (const std::exception& error) {
    return hook_failed(request, error.what());
  } catch (...) {
    return hook_failed(request, "unknown exception");
  }
}

BodyDecision HttpSession::call_before_body(const HttpRequest& request) {
  try {
    return server_.hooks().before_body(request);
  } catch (const std::exception& error) {
    return {0, hook_failed(request, error.what())};
  } catch (...) {
    return {0, hook_failed(request, "unknown exception")};
  }
}

net::awaitable<bool> HttpSession::send(const HttpResponse& response, bool head_only,
                                       bool keep_alive) {
  const std::string head = format_head(response, keep_alive);
  std::string_view body = response.body;
  if (head_only || has_no_content(response.status)) body = {};
  const std::size_t status_class = static_cast<std::size_t>(response.status / 100);
  if (status_class >= 1 && status_class <= 5) ++server_.counts().responses[status_class - 1];
  if (response.status == 429) ++server_.counts().too_many;

  std::string_view piece = body.substr(0, write_piece_bytes);
  std::array<net::const_buffer, 2> both = {net::buffer(head),
                                           net::buffer(piece.data(), piece.size())};
  for (;;) {
    error_code ec;
    stream_.expires_after(server_.limits().write_deadline);
    co_await net::async_write(stream_, both, net::redirect_error(net::use_awaitable, ec));
    if (!went_well(ec)) co_return false;
    body.remove_prefix(piece.size());
    if (body.empty()) co_return true;
    piece = body.substr(0, write_piece_bytes);
    both = {net::const_buffer(), net::buffer(piece.data(), piece.size())};
  }
}

/// Closing with unread input resets the connection, and the client may lose the answer with it.
net::awaitable<void> HttpSession::linger() {
  error_code ec;
  stream_.socket().shutdown(tcp::socket::shutdown_send, ec);
  stream_.expires_after(server_.limits().linger);
  std::size_t dropped = 0;
  buffer_.clear();
  while (!ec && dropped < linger_bytes) {
    const std::size_t got = co_await stream_.async_read_some(
        buffer_.prepare(read_piece_bytes), net::redirect_error(net::use_awaitable, ec));
    dropped += got;
  }
}

/// An event stream has no further requests: anything the client does but listen ends it.
net::awaitable<void> HttpSession::watch(std::shared_ptr<HttpSession> self) {
  std::array<char, 1> byte{};
  error_code ec;
  self->stream_.expires_never();
  co_await self->stream_.async_read_some(net::buffer(byte),
                                         net::redirect_error(net::use_awaitable, ec));
  self->events_->client_gone();
}

/// The response, or 503 if it does not come in time.
net::awaitable<HttpResponse> HttpSession::wait_for(std::shared_ptr<DeferredResponse> deferred) {
  deferred->attach([this] {
    net::post(stream_.get_executor(), [self = shared_from_this()] { self->wake_timer_.cancel(); });
  });
  const auto deadline = std::chrono::steady_clock::now() + server_.limits().answer_deadline;
  std::optional<HttpResponse> response = deferred->take();
  while (!response && std::chrono::steady_clock::now() < deadline && stream_.socket().is_open()) {
    wake_timer_.expires_at(deadline);
    error_code ec;
    co_await wake_timer_.async_wait(net::redirect_error(net::use_awaitable, ec));
    response = deferred->take();
  }
  deferred->detach();
  if (!response) {
    response = problem_response(503, "/problems/unavailable", "Service unavailable",
                                "The answer took too long; ask again.");
  }
  co_return std::move(*response);
}

net::awaitable<void> HttpSession::serve_events(const HttpRequest& request, HttpResponse response) {
  events_ = response.stream;
  events_->attach([this] {
    net::post(stream_.get_executor(), [self = shared_from_this()] { self->wake_timer_.cancel(); });
  });
  if (server_.draining()) events_->close();
  response.headers.emplace_back("X-Accel-Buffering", "no");
  ++server_.counts().responses[1];
  try {
    // The read must be pending under "never" before any write sets a deadline: a deadline covers
    // the operations started after it.
    net::co_spawn(stream_.get_executor(), watch(shared_from_this()), net::detached);
    co_await send_events(format_head(response, false));
  } catch (const std::exception& error) {
    hook_failed(request, error.what());
  }
  if (events_->overflowed()) ++server_.counts().resets;
  events_->client_gone();
  events_->detach();
  server_.close_event_stream();
  error_code ec;
  stream_.socket().shutdown(tcp::socket::shutdown_send, ec);
}

net::awaitable<void> HttpSession::send_events(std::string head) {
  static const auto keep_alive = std::make_shared<const std::string>(": keep-alive\n\n");
  std::vector<EventStream::Frame> batch = {std::make_shared<const std::string>(std::move(head))};
  std::vector<net::const_buffer> buffers;
  while (!batch.empty()) {
    buffers.clear();
    for (const auto& frame : batch) buffers.push_back(net::buffer(*frame));
    error_code ec;
    stream_.expires_after(server_.limits().write_deadline);
    co_await net::async_write(stream_, buffers, net::redirect_error(net::use_awaitable, ec));
    if (!went_well(ec)) co_return;
    events_->written();
    batch = events_->take(event_batch_bytes);
    while (batch.empty() && !events_->finished()) {
      wake_timer_.expires_after(server_.limits().event_keep_alive);
      co_await wake_timer_.async_wait(net::redirect_error(net::use_awaitable, ec));
      batch = events_->take(event_batch_bytes);
      if (batch.empty() && !ec && !events_->finished()) batch = {keep_alive};
    }
  }
}

}  // namespace paretod
