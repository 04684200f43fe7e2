#include "daemon/rest/http_server.hpp"

#include <algorithm>
#include <atomic>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/strand.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/core/tcp_stream.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/read.hpp>
#include <boost/beast/http/status.hpp>
#include <boost/beast/http/string_body.hpp>
#include <condition_variable>
#include <ctime>
#include <exception>
#include <limits>
#include <list>
#include <map>
#include <mutex>
#include <set>
#include <stdexcept>
#include <string_view>
#include <thread>
#include <utility>

namespace paretod {
namespace {

namespace net = boost::asio;
namespace beast = boost::beast;
namespace http = boost::beast::http;
using boost::system::error_code;
using tcp = net::ip::tcp;
using std::chrono::milliseconds;
using Parser = http::request_parser<http::string_body>;

constexpr std::size_t read_piece_bytes = 4 * 1024;
constexpr std::size_t write_piece_bytes = 256 * 1024;
constexpr std::size_t event_batch_bytes = 64 * 1024;
constexpr std::size_t linger_bytes = 1024 * 1024;
/// Connections being told that there is no room; those beyond are closed without a word.
constexpr std::size_t most_polite_refusals = 64;
constexpr milliseconds accept_retry{50};
constexpr std::string_view head_end = "\r\n\r\n";

std::string lower(std::string_view text) {
  std::string out(text);
  for (char& c : out) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return out;
}

std::string_view as_view(boost::beast::string_view text) {
  return {text.data(), text.size()};
}

std::string_view as_view(const beast::flat_buffer& buffer) {
  const auto data = buffer.data();
  return {static_cast<const char*>(data.data()), data.size()};
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

/// Beast repairs or overlooks what a stricter peer would reject, which is how two parsers come to
/// disagree about where a request ends: folded fields, stray line ends, control characters.
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

std::size_t count_fields(const HttpRequest& request, std::string_view name) {
  return static_cast<std::size_t>(
      std::count_if(request.headers.begin(), request.headers.end(),
                    [name](const auto& field) { return field.first == name; }));
}

/// One way to say where the body ends, and fields that must be unique are.
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

/// The host of "host", "host:port" or "[v6]:port" in lower case; nothing if malformed.
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

bool has_no_content(int status) {
  return status == 204 || status == 304 || status < 200;
}

std::string format_head(const HttpResponse& response, bool keep_alive) {
  const auto reason =
      http::obsolete_reason(http::int_to_status(static_cast<unsigned>(response.status)));
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

std::string printable(const std::string& address, std::uint16_t port) {
  const bool bracket = address.find(':') != address.npos;
  return (bracket ? "[" + address + "]" : address) + ":" + std::to_string(port);
}

class Session;

}  // namespace

class HttpServer::Impl {
 public:
  Impl(HttpHooks hooks, HttpLimits limits, std::vector<std::string> host_names);
  ~Impl() { stop(); }

  Result<void> listen(const std::string& address, std::uint16_t port);
  std::uint16_t port() const { return port_; }
  void start(int threads);
  void stop_accepting();
  bool drain(milliseconds timeout);
  void stop();
  HttpCounters counters() const;

  // For sessions, on their strands.

  struct Counts {
    std::atomic<std::uint64_t> accepted{0}, refused{0}, evicted{0}, deadlines{0}, requests{0},
        malformed{0}, failures{0}, resets{0}, too_many{0};
    std::array<std::atomic<std::uint64_t>, 5> responses{};
  };

  const HttpLimits& limits() const { return limits_; }
  const HttpHooks& hooks() const { return hooks_; }
  Counts& counts() { return counts_; }

  /// Answers in progress are the last of their connections.
  bool draining() const { return draining_; }
  bool host_allowed(const std::string& name) const;
  /// The session waits for a request and may be evicted until it no longer does.
  void waits_for_head(Session& session);
  /// False if it was evicted meanwhile: what it read must not be acted on.
  bool has_head(Session& session);
  bool open_event_stream();
  void close_event_stream();
  void finished(Session& session);

 private:
  net::awaitable<void> accept_loop();
  void admit(tcp::socket socket);
  void release(Session& session);

  const HttpLimits limits_;
  const HttpHooks hooks_;
  std::set<std::string> host_names_;
  bool any_host_ = false;
  Counts counts_;

  net::io_context context_;
  net::executor_work_guard<net::io_context::executor_type> work_{context_.get_executor()};
  net::strand<net::io_context::executor_type> accept_strand_{net::make_strand(context_)};
  tcp::acceptor acceptor_{accept_strand_};
  net::steady_timer accept_timer_{accept_strand_};
  std::uint16_t port_ = 0;
  std::vector<std::thread> threads_;

  std::atomic<bool> draining_{false};
  mutable std::mutex mutex_;
  std::condition_variable empty_;
  std::map<Session*, std::shared_ptr<Session>> sessions_;  ///< all alive
  std::list<Session*> waiting_;                            ///< for a request, oldest first
  std::map<net::ip::address, std::size_t> per_address_;
  std::size_t admitted_ = 0;
  std::size_t refusing_ = 0;
  std::size_t event_streams_ = 0;
  bool closing_ = false;  ///< no new sessions
};

namespace {

/// One connection.  Lives as long as one of its coroutines; every member is touched on the strand
/// of the stream only, except `place`, which belongs to the server's lock.
class Session : public std::enable_shared_from_this<Session> {
 public:
  using Server = HttpServer::Impl;

  /// The server's bookkeeping for this session.
  struct Place {
    net::ip::address address;
    bool admitted = false;
    bool refused = false;
    bool waiting = false;
    std::list<Session*>::iterator in_waiting;
  };

  Session(Server& server, tcp::socket socket, const net::ip::address& address)
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
  static net::awaitable<void> run(std::shared_ptr<Session> self);
  static net::awaitable<void> run_refusal(std::shared_ptr<Session> self, HttpResponse response);
  static net::awaitable<void> watch(std::shared_ptr<Session> self);

  net::awaitable<void> serve();
  net::awaitable<bool> serve_one(bool first, bool last);
  net::awaitable<std::size_t> read_head(bool first);
  net::awaitable<std::optional<HttpResponse>> read_body(Parser& parser, std::size_t limit);
  net::awaitable<bool> send(const HttpResponse& response, bool head_only, bool keep_alive);
  net::awaitable<void> serve_events(const HttpRequest& request, HttpResponse response);
  net::awaitable<void> send_events(std::string head);
  net::awaitable<void> linger();

  std::optional<HttpResponse> parse_head(Parser& parser, std::size_t bytes, HttpRequest& request);
  std::optional<HttpResponse> check_caller(const HttpRequest& request) const;
  HttpResponse call_handler(const HttpRequest& request);
  BodyDecision call_before_body(const HttpRequest& request);
  HttpResponse hook_failed(const HttpRequest& request, const std::string& what);
  /// True if the operation went well; remembers missed deadlines.
  bool went_well(const error_code& ec);

  Server& server_;
  beast::tcp_stream stream_;
  net::steady_timer wake_timer_;
  beast::flat_buffer buffer_;
  const std::string peer_;
  std::shared_ptr<EventStream> events_;
  bool quiet_ = false;   ///< between requests, nothing of the next one has arrived
  bool linger_ = false;  ///< the client may still be sending when the last answer is out
};

void Session::start() {
  net::co_spawn(stream_.get_executor(), run(shared_from_this()), net::detached);
}

void Session::start_refusal(HttpResponse response) {
  net::co_spawn(stream_.get_executor(), run_refusal(shared_from_this(), std::move(response)),
                net::detached);
}

void Session::close() {
  net::post(stream_.get_executor(), [self = shared_from_this()] {
    if (self->events_) self->events_->client_gone();
    self->stream_.close();
    self->wake_timer_.cancel();
  });
}

void Session::drain() {
  net::post(stream_.get_executor(), [self = shared_from_this()] {
    if (self->events_) self->events_->close();
    if (self->quiet_) self->stream_.close();
  });
}

bool Session::went_well(const error_code& ec) {
  if (ec == beast::error::timeout) ++server_.counts().deadlines;
  return !ec;
}

// What arrives in the catch is lack of memory: this connection ends, the others go on.
net::awaitable<void> Session::run(std::shared_ptr<Session> self) {
  try {
    co_await self->serve();
  } catch (...) {
    self->stream_.close();
  }
  self->stream_.close();
  self->server_.finished(*self);
}

net::awaitable<void> Session::run_refusal(std::shared_ptr<Session> self, HttpResponse response) {
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

net::awaitable<void> Session::serve() {
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
net::awaitable<bool> Session::serve_one(bool first, bool last) {
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
net::awaitable<std::size_t> Session::read_head(bool first) {
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
std::optional<HttpResponse> Session::parse_head(Parser& parser, std::size_t bytes,
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
std::optional<HttpResponse> Session::check_caller(const HttpRequest& request) const {
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
net::awaitable<std::optional<HttpResponse>> Session::read_body(Parser& parser, std::size_t limit) {
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

HttpResponse Session::hook_failed(const HttpRequest& request, const std::string& what) {
  ++server_.counts().failures;
  if (server_.hooks().failed) server_.hooks().failed(request, what);
  return problem_response(500, "/problems/internal", "Internal error",
                          "The request could not be answered because of a defect; see the log.");
}

HttpResponse Session::call_handler(const HttpRequest& request) {
  try {
    return server_.hooks().handler(request);
  } catch (const std::exception& error) {
    return hook_failed(request, error.what());
  } catch (...) {
    return hook_failed(request, "unknown exception");
  }
}

BodyDecision Session::call_before_body(const HttpRequest& request) {
  try {
    return server_.hooks().before_body(request);
  } catch (const std::exception& error) {
    return {0, hook_failed(request, error.what())};
  } catch (...) {
    return {0, hook_failed(request, "unknown exception")};
  }
}

net::awaitable<bool> Session::send(const HttpResponse& response, bool head_only, bool keep_alive) {
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
net::awaitable<void> Session::linger() {
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
net::awaitable<void> Session::watch(std::shared_ptr<Session> self) {
  std::array<char, 1> byte{};
  error_code ec;
  self->stream_.expires_never();
  co_await self->stream_.async_read_some(net::buffer(byte),
                                         net::redirect_error(net::use_awaitable, ec));
  self->events_->client_gone();
}

net::awaitable<void> Session::serve_events(const HttpRequest& request, HttpResponse response) {
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

net::awaitable<void> Session::send_events(std::string head) {
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

}  // namespace

HttpServer::Impl::Impl(HttpHooks hooks, HttpLimits limits, std::vector<std::string> host_names)
    : limits_(limits), hooks_(std::move(hooks)), any_host_(host_names.empty()) {
  if (!hooks_.handler || limits_.buffer_bytes <= limits_.header_bytes) {
    throw std::invalid_argument("HttpServer needs a handler and a buffer larger than a header");
  }
  for (const std::string& name : host_names) host_names_.insert(lower(name));
  host_names_.insert({"localhost", "127.0.0.1", "[::1]"});
}

Result<void> HttpServer::Impl::listen(const std::string& address, std::uint16_t port) {
  error_code ec;
  const auto parsed = net::ip::make_address(address == "localhost" ? "127.0.0.1" : address, ec);
  if (ec) {
    return invalid("Cannot listen on \"" + address +
                   "\": give a numeric address such as 127.0.0.1 or ::1, or localhost.");
  }
  const tcp::endpoint endpoint(parsed, port);
  const std::string where = printable(parsed.to_string(), port);
  tcp::acceptor acceptor(accept_strand_);
  acceptor.open(endpoint.protocol(), ec);
  if (!ec) acceptor.set_option(tcp::acceptor::reuse_address(true), ec);
  if (!ec) acceptor.bind(endpoint, ec);
  if (!ec) acceptor.listen(net::socket_base::max_listen_connections, ec);
  if (!ec) port_ = acceptor.local_endpoint(ec).port();
  if (ec == net::error::address_in_use) {
    return Error{ErrorKind::conflict, "Cannot listen on " + where +
                                          ": another program uses this port. Stop it, or choose "
                                          "another port (0 picks a free one)."};
  }
  if (ec == net::error::access_denied) {
    return Error{ErrorKind::denied, "Cannot listen on " + where +
                                        ": not permitted. Ports below 1024 need privileges; "
                                        "choose a higher one."};
  }
  if (ec == boost::system::errc::address_not_available) {
    return invalid("Cannot listen on " + where + ": this machine has no such address.");
  }
  if (ec) {
    return Error{ErrorKind::unavailable, "Cannot listen on " + where + ": " + ec.message() + "."};
  }
  acceptor_ = std::move(acceptor);
  any_host_ = any_host_ && !parsed.is_loopback();
  host_names_.insert(parsed.is_v6() ? "[" + parsed.to_string() + "]" : parsed.to_string());
  return {};
}

void HttpServer::Impl::start(int threads) {
  if (!acceptor_.is_open() || !threads_.empty() || threads < 1) {
    throw std::logic_error("HttpServer::start needs a listening server, once");
  }
  net::co_spawn(accept_strand_, accept_loop(), net::detached);
  for (int i = 0; i < threads; ++i) {
    threads_.emplace_back([this] { context_.run(); });
  }
}

net::awaitable<void> HttpServer::Impl::accept_loop() {
  while (acceptor_.is_open()) {
    tcp::socket socket(net::make_strand(context_));
    error_code ec;
    co_await acceptor_.async_accept(socket, net::redirect_error(net::use_awaitable, ec));
    try {
      if (!ec) admit(std::move(socket));
    } catch (const std::exception&) {
      ec = net::error::no_memory;
    }
    if (ec && ec != net::error::connection_aborted && acceptor_.is_open()) {
      // Out of descriptors or memory: the waiting connection stays in the kernel's queue.
      accept_timer_.expires_after(accept_retry);
      co_await accept_timer_.async_wait(net::redirect_error(net::use_awaitable, ec));
    }
  }
}

void HttpServer::Impl::admit(tcp::socket socket) {
  error_code ec;
  net::ip::address address = socket.remote_endpoint(ec).address();
  if (ec) return;
  if (address.is_v6() && address.to_v6().is_v4_mapped()) {
    address = net::ip::make_address_v4(net::ip::v4_mapped, address.to_v6());
  }
  socket.set_option(tcp::no_delay(true), ec);
  ++counts_.accepted;
  const auto session = std::make_shared<Session>(*this, std::move(socket), address);

  const std::lock_guard lock(mutex_);
  if (closing_) return;
  const std::size_t most_here =
      address.is_loopback() ? limits_.connections_per_loopback : limits_.connections_per_address;
  const auto here = per_address_.find(address);
  const bool crowd = here != per_address_.end() && here->second >= most_here;
  if (!crowd && admitted_ >= limits_.connections && !waiting_.empty()) {
    Session& oldest = *waiting_.front();
    ++counts_.evicted;
    release(oldest);
    oldest.close();
  }
  if (crowd || admitted_ >= limits_.connections) {
    ++counts_.refused;
    if (refusing_ >= most_polite_refusals) return;
    ++refusing_;
    session->place.refused = true;
    sessions_.emplace(session.get(), session);
    session->start_refusal(no_room(crowd ? "There are too many connections from this address."
                                         : "There are too many connections."));
    return;
  }
  ++admitted_;
  ++per_address_[address];
  session->place.admitted = true;
  sessions_.emplace(session.get(), session);
  session->start();
}

// Under the lock.
void HttpServer::Impl::release(Session& session) {
  Session::Place& place = session.place;
  if (place.waiting) waiting_.erase(place.in_waiting);
  place.waiting = false;
  if (!place.admitted) return;
  place.admitted = false;
  --admitted_;
  const auto here = per_address_.find(place.address);
  if (--here->second == 0) per_address_.erase(here);
}

bool HttpServer::Impl::host_allowed(const std::string& name) const {
  return any_host_ || host_names_.count(name) > 0;
}

void HttpServer::Impl::waits_for_head(Session& session) {
  const std::lock_guard lock(mutex_);
  if (!session.place.admitted) return;
  session.place.in_waiting = waiting_.insert(waiting_.end(), &session);
  session.place.waiting = true;
}

bool HttpServer::Impl::has_head(Session& session) {
  const std::lock_guard lock(mutex_);
  if (session.place.waiting) waiting_.erase(session.place.in_waiting);
  session.place.waiting = false;
  return session.place.admitted;
}

bool HttpServer::Impl::open_event_stream() {
  const std::lock_guard lock(mutex_);
  if (event_streams_ >= limits_.event_streams) return false;
  ++event_streams_;
  return true;
}

void HttpServer::Impl::close_event_stream() {
  const std::lock_guard lock(mutex_);
  --event_streams_;
}

void HttpServer::Impl::finished(Session& session) {
  const std::lock_guard lock(mutex_);
  release(session);
  if (session.place.refused) --refusing_;
  sessions_.erase(&session);
  if (sessions_.empty()) empty_.notify_all();
}

void HttpServer::Impl::stop_accepting() {
  {
    const std::lock_guard lock(mutex_);
    closing_ = true;
  }
  net::post(accept_strand_, [this] {
    error_code ec;
    acceptor_.close(ec);
    accept_timer_.cancel();
  });
}

bool HttpServer::Impl::drain(milliseconds timeout) {
  stop_accepting();
  draining_ = true;
  std::unique_lock lock(mutex_);
  for (const auto& [key, session] : sessions_) session->drain();
  return empty_.wait_for(lock, timeout, [this] { return sessions_.empty(); });
}

void HttpServer::Impl::stop() {
  stop_accepting();
  draining_ = true;
  {
    const std::lock_guard lock(mutex_);
    for (const auto& [key, session] : sessions_) session->close();
  }
  work_.reset();
  for (std::thread& thread : threads_) thread.join();
  threads_.clear();
}

HttpCounters HttpServer::Impl::counters() const {
  HttpCounters out;
  {
    const std::lock_guard lock(mutex_);
    out.connections_open = sessions_.size();
    out.event_streams_open = event_streams_;
  }
  out.connections_accepted = counts_.accepted;
  out.connections_refused = counts_.refused;
  out.connections_evicted = counts_.evicted;
  out.deadlines_missed = counts_.deadlines;
  out.requests = counts_.requests;
  out.requests_malformed = counts_.malformed;
  out.handler_failures = counts_.failures;
  out.responses_429 = counts_.too_many;
  out.event_streams_reset = counts_.resets;
  for (std::size_t i = 0; i < out.responses.size(); ++i) out.responses[i] = counts_.responses[i];
  return out;
}

HttpServer::HttpServer(HttpHooks hooks, HttpLimits limits, std::vector<std::string> host_names)
    : impl_(std::make_unique<Impl>(std::move(hooks), limits, std::move(host_names))) {}

HttpServer::~HttpServer() = default;

Result<void> HttpServer::listen(const std::string& address, std::uint16_t port) {
  return impl_->listen(address, port);
}

std::uint16_t HttpServer::port() const {
  return impl_->port();
}
void HttpServer::start(int threads) {
  impl_->start(threads);
}
void HttpServer::stop_accepting() {
  impl_->stop_accepting();
}
bool HttpServer::drain(milliseconds timeout) {
  return impl_->drain(timeout);
}
void HttpServer::stop() {
  impl_->stop();
}
HttpCounters HttpServer::counters() const {
  return impl_->counters();
}

}  // namespace paretod
