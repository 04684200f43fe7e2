#include "daemon/rest/http_server.hpp"

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
#include <condition_variable>
#include <exception>
#include <list>
#include <map>
#include <mutex>
#include <set>
#include <stdexcept>
#include <thread>
#include <utility>

#include "daemon/rest/http_rules.hpp"
#include "daemon/rest/http_session.hpp"

namespace paretod {
namespace {

namespace net = boost::asio;
using boost::system::error_code;
using tcp = net::ip::tcp;
using std::chrono::milliseconds;

/// Connections being told that there is no room; those beyond are closed without a word.
constexpr std::size_t most_polite_refusals = 64;
constexpr milliseconds accept_retry{50};

std::string printable(const std::string& address, std::uint16_t port) {
  const bool bracket = address.find(':') != address.npos;
  return (bracket ? "[" + address + "]" : address) + ":" + std::to_string(port);
}

}  // namespace

class HttpServer::Impl final : public HttpSessionHost {
 public:
  Impl(HttpHooks hooks, HttpLimits limits, std::vector<std::string> host_names);
  ~Impl() override { stop(); }

  Result<void> listen(const std::string& address, std::uint16_t port);
  std::uint16_t port() const { return port_; }
  void start(int threads);
  void stop_accepting();
  bool drain(milliseconds timeout);
  void stop();
  HttpCounters counters() const;

  // Of HttpSessionHost.
  const HttpLimits& limits() const override { return limits_; }
  const HttpHooks& hooks() const override { return hooks_; }
  HttpCounts& counts() override { return counts_; }
  bool draining() const override { return draining_; }
  bool host_allowed(const std::string& name) const override;
  void waits_for_head(HttpSession& session) override;
  bool has_head(HttpSession& session) override;
  bool open_event_stream() override;
  void close_event_stream() override;
  void finished(HttpSession& session) override;

 private:
  net::awaitable<void> accept_loop();
  void admit(tcp::socket socket);
  void release(HttpSession& session);

  const HttpLimits limits_;
  const HttpHooks hooks_;
  std::set<std::string> host_names_;
  bool any_host_ = false;
  HttpCounts counts_;

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
  std::map<HttpSession*, std::shared_ptr<HttpSession>> sessions_;  ///< all alive
  std::list<HttpSession*> waiting_;                                ///< for a request, oldest first
  std::map<net::ip::address, std::size_t> per_address_;
  std::size_t admitted_ = 0;
  std::size_t refusing_ = 0;
  std::size_t event_streams_ = 0;
  bool closing_ = false;  ///< no new sessions
};

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
  const auto session = std::make_shared<HttpSession>(*this, std::move(socket), address);

  const std::lock_guard lock(mutex_);
  if (closing_) return;
  const std::size_t most_here =
      address.is_loopback() ? limits_.connections_per_loopback : limits_.connections_per_address;
  const auto here = per_address_.find(address);
  const bool crowd = here != per_address_.end() && here->second >= most_here;
  if (!crowd && admitted_ >= limits_.connections && !waiting_.empty()) {
    HttpSession& oldest = *waiting_.front();
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
void HttpServer::Impl::release(HttpSession& session) {
  HttpSession::Place& place = session.place;
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

void HttpServer::Impl::waits_for_head(HttpSession& session) {
  const std::lock_guard lock(mutex_);
  if (!session.place.admitted) return;
  session.place.in_waiting = waiting_.insert(waiting_.end(), &session);
  session.place.waiting = true;
}

bool HttpServer::Impl::has_head(HttpSession& session) {
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

void HttpServer::Impl::finished(HttpSession& session) {
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
