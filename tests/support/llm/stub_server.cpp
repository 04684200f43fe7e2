#include "tests/support/llm/stub_server.hpp"

#include <algorithm>
#include <boost/asio.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>
#include <chrono>
#include <deque>
#include <mutex>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <thread>
#include <unordered_set>

#include "optimizers/core/rng.hpp"

namespace paretod::testing {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = boost::beast::http;
using nlohmann::json;
using Clock = std::chrono::steady_clock;
using Response = http::response<http::string_body>;

// Millionths of the currency per million tokens.
constexpr std::int64_t input_price = 150'000;
constexpr std::int64_t output_price = 600'000;

enum class Ending { normal, cut, silence, close };

struct Answer {
  Response response;
  Ending ending = Ending::normal;
  std::chrono::duration<double, std::milli> delay{0};
  bool charged_route = false;
};

}  // namespace

class StubServer::State {
 public:
  State(std::unique_ptr<StubApi> api, const std::string& faults, int port)
      : api_(std::move(api)),
        faults_(json::parse(faults)),
        acceptor_(context_, asio::ip::tcp::endpoint(asio::ip::address_v4::loopback(),
                                                    static_cast<unsigned short>(port))),
        port_(acceptor_.local_endpoint().port()) {
    asio::co_spawn(context_, accept(), asio::detached);
    thread_ = std::thread([this] { context_.run(); });
  }
  ~State() {
    context_.stop();
    if (thread_.joinable()) thread_.join();
  }
  State(const State&) = delete;
  State& operator=(const State&) = delete;

  [[nodiscard]] int port() const { return port_; }
  void join() { thread_.join(); }

  [[nodiscard]] StubBill bill() const {
    const std::lock_guard lock(mutex_);
    return bill_;
  }
  void set_faults(const std::string& faults) {
    const std::lock_guard lock(mutex_);
    faults_.merge_patch(json::parse(faults));
  }

 private:
  asio::awaitable<void> accept() {
    while (true) {
      auto socket = co_await acceptor_.async_accept(asio::use_awaitable);
      socket.set_option(asio::ip::tcp::no_delay(true));
      asio::co_spawn(context_, serve(std::move(socket)), asio::detached);
    }
  }

  asio::awaitable<void> serve(asio::ip::tcp::socket socket) {
    beast::flat_buffer buffer;
    beast::error_code error;
    while (true) {
      http::request_parser<http::string_body> parser;
      parser.body_limit(std::uint64_t{64} << 20U);
      co_await http::async_read(socket, buffer, parser,
                                asio::redirect_error(asio::use_awaitable, error));
      if (error) co_return;
      const auto request = parser.release();
      Answer answer = respond(request);
      if (answer.delay.count() > 0) {
        asio::steady_timer timer(context_);
        timer.expires_after(std::chrono::duration_cast<Clock::duration>(answer.delay));
        co_await timer.async_wait(asio::redirect_error(asio::use_awaitable, error));
      }
      if (answer.charged_route) leave();
      if (answer.ending == Ending::close) co_return;
      if (answer.ending == Ending::normal) {
        co_await http::async_write(socket, answer.response,
                                   asio::redirect_error(asio::use_awaitable, error));
        if (error || !answer.response.keep_alive()) co_return;
        continue;
      }
      // The whole length is announced, and half of it, or nothing, is sent.
      http::response_serializer<http::string_body> serializer(answer.response);
      co_await http::async_write_header(socket, serializer,
                                        asio::redirect_error(asio::use_awaitable, error));
      if (answer.ending == Ending::cut) {
        const std::string half =
            answer.response.body().substr(0, answer.response.body().size() / 2);
        co_await asio::async_write(socket, asio::buffer(half),
                                   asio::redirect_error(asio::use_awaitable, error));
        co_return;
      }
      char byte = 0;  // until the client has had enough
      co_await socket.async_read_some(asio::buffer(&byte, 1),
                                      asio::redirect_error(asio::use_awaitable, error));
      co_return;
    }
  }

  static Response response_of(int status, std::string body, const std::string& type,
                              const http::request<http::string_body>& request) {
    Response response(static_cast<http::status>(status), request.version());
    response.set(http::field::content_type, type);
    response.keep_alive(request.keep_alive());
    response.body() = std::move(body);
    response.prepare_payload();
    return response;
  }

  Answer respond(const http::request<http::string_body>& request) {
    const std::lock_guard lock(mutex_);
    const std::string target(request.target());
    Answer answer;
    if (target == "/bill") {
      answer.response = response_of(200, bill_json().dump(), "application/json", request);
      return answer;
    }
    const json body = json::parse(request.body(), nullptr, false);
    if (target == "/faults") {
      faults_.merge_patch(body);
      answer.response = response_of(200, faults_.dump(), "application/json", request);
      return answer;
    }
    const StubContent content{
        faults_.value("contaminate", false), faults_.value("contaminate_always", false),
        faults_.value("ignore_adapters", false), faults_.value("fingerprint", "fp_toy"),
        faults_.value("pairs", false)};
    if (!api_->charged(target)) {
      StubReply reply = api_->handle(std::string(request.method_string()), target, body, content);
      answer.response =
          response_of(reply.status, std::move(reply.body), reply.content_type, request);
      return answer;
    }
    ++bill_.requests;
    ++at_once_;
    bill_.most_at_once = std::max(bill_.most_at_once, at_once_);
    answer.charged_route = true;
    answer.delay = std::chrono::duration<double, std::milli>(faults_.value("latency_ms", 0.0));
    if (auto refused = refusal(request)) {
      answer.response = std::move(*refused);
      return answer;
    }
    StubReply reply = api_->handle(std::string(request.method_string()), target, body, content);
    if (reply.status == 200) {
      charge(reply, request.body());
      spoil(reply, answer);
    }
    answer.response = response_of(reply.status, std::move(reply.body), reply.content_type, request);
    return answer;
  }

  void leave() {
    const std::lock_guard lock(mutex_);
    --at_once_;
  }

  bool drawn(const char* fault) {
    const double share = faults_.value(fault, 0.0);
    return share > 0 && Rng(faults_.value("seed", 1), bill_.requests,
                            static_cast<std::uint32_t>(std::hash<std::string>()(fault)))
                                .uniform() < share;
  }

  Response limited(const http::request<http::string_body>& request, double wait_s, bool say_when,
                   const char* type = "rate_limit_exceeded") {
    ++bill_.refused;
    Response response = response_of(429,
                                    json{{"error",
                                          {{"message", "too many requests"},
                                           {"type", "requests"},
                                           {"param", nullptr},
                                           {"code", type}}}}
                                        .dump(),
                                    "application/json", request);
    if (say_when) {
      response.set("retry-after-ms", std::to_string(static_cast<long>(wait_s * 1000) + 1));
    }
    return response;
  }

  std::optional<Response> refusal(const http::request<http::string_body>& request) {
    if (bill_.requests <= faults_.value("refuse_first", std::uint64_t{0})) {
      return limited(request, 0.01, true);
    }
    if (drawn("echo_key")) {
      const std::string key(request[http::field::authorization]);
      return response_of(401, json{{"error", {{"message", "wrong key: " + key}}}}.dump(),
                         "application/json", request);
    }
    if (drawn("rate_limited")) return limited(request, 0.02, true);
    if (drawn("rate_limited_bare")) return limited(request, 0, false);
    if (drawn("quota")) return limited(request, 0, false, "insufficient_quota");
    if (drawn("overloaded")) {
      return response_of(529, R"({"error":{"message":"overloaded","type":"overloaded_error"}})",
                         "application/json", request);
    }
    if (drawn("error")) {
      return response_of(500, R"({"error":{"message":"internal error","type":"server_error"}})",
                         "application/json", request);
    }
    const auto at_once = faults_.value("at_once", std::uint64_t{0});
    const bool say_when = faults_.value("retry_after", false);
    if (at_once > 0 && at_once_ > at_once) return limited(request, 0.02, say_when);
    const auto now = Clock::now();
    const std::chrono::duration<double> window(faults_.value("window_s", 60.0));
    while (!window_.empty() && now - window_.front().first > window) {
      window_tokens_ -= window_.front().second;
      window_.pop_front();
    }
    const auto most = faults_.value("requests_per_window", std::size_t{0});
    const auto most_tokens = faults_.value("tokens_per_window", std::uint64_t{0});
    if ((most > 0 && window_.size() >= most) ||
        (most_tokens > 0 && window_tokens_ >= most_tokens)) {
      const std::chrono::duration<double> wait = window - (now - window_.front().first);
      return limited(request, wait.count(), say_when);
    }
    window_.emplace_back(now, 0);
    return std::nullopt;
  }

  void charge(const StubReply& reply, const std::string& body) {
    ++bill_.calls;
    bill_.prompt_tokens += reply.prompt_tokens;
    bill_.output_tokens += reply.output_tokens;
    // Rounded up per call, as the price per token is what is charged.
    const auto cost = static_cast<std::int64_t>(reply.prompt_tokens) * input_price +
                      static_cast<std::int64_t>(reply.output_tokens) * output_price;
    bill_.money_micros += (cost + 999'999) / 1'000'000;
    if (!window_.empty()) {
      window_.back().second = reply.prompt_tokens + reply.output_tokens;
      window_tokens_ += window_.back().second;
    }
    if (!bodies_.insert(std::hash<std::string>()(body)).second) ++bill_.repeated;
  }

  void spoil(StubReply& reply, Answer& answer) {
    if (drawn("cut")) {
      answer.ending = Ending::cut;
    } else if (drawn("silence")) {
      answer.ending = Ending::silence;
    } else if (drawn("close")) {
      answer.ending = Ending::close;
    } else if (drawn("garbage")) {
      reply.body = "{\"choices\": [{\"text\": \"and then the connection to the";
    }
  }

  [[nodiscard]] json bill_json() const {
    return {{"calls", bill_.calls},
            {"prompt_tokens", bill_.prompt_tokens},
            {"output_tokens", bill_.output_tokens},
            {"money_micros", bill_.money_micros},
            {"requests", bill_.requests},
            {"refused", bill_.refused},
            {"most_at_once", bill_.most_at_once},
            {"repeated", bill_.repeated}};
  }

  const std::unique_ptr<StubApi> api_;
  mutable std::mutex mutex_;
  json faults_;
  StubBill bill_;
  std::uint64_t at_once_ = 0;
  std::deque<std::pair<Clock::time_point, std::uint64_t>> window_;
  std::uint64_t window_tokens_ = 0;
  std::unordered_set<std::size_t> bodies_;
  asio::io_context context_{1};
  asio::ip::tcp::acceptor acceptor_;
  const int port_;
  std::thread thread_;
};

StubServer::StubServer(std::unique_ptr<StubApi> api, const std::string& faults, int port)
    : state_(std::make_unique<State>(std::move(api), faults, port)) {}
StubServer::~StubServer() = default;

int StubServer::port() const {
  return state_->port();
}
StubBill StubServer::bill() const {
  return state_->bill();
}
void StubServer::set_faults(const std::string& faults) {
  state_->set_faults(faults);
}
void StubServer::wait() {
  state_->join();
}

}  // namespace paretod::testing
