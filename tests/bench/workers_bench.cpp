// Many workers of a slow evaluator against a real daemon, on one thread: each leases one attempt
// over its own connection, waits SECONDS instead of evaluating, brings the result, and asks again,
// until all have brought TRIALS results.  Prints one line of JSON.
//   workers_bench HOST PORT JOB TRIALS WORKERS SECONDS
// The job's evaluator is "external", its parameters are x and y, its objectives f1 and f2.
// busy is the share of WORKERS * (first lease to last result accepted) in which a worker
// evaluated; an evaluation counts SECONDS, however late its timer rang.  A gap is what lies
// between two evaluations of a worker: the late ring, bringing the result, and the next lease.
// Exits with 1 if the daemon refuses a request or does not accept a result.

#include <algorithm>
#include <utility>  // before Asio 1.74, whose coroutines need std::exchange

#include <boost/asio/awaitable.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http.hpp>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

namespace {

namespace asio = boost::asio;
namespace http = boost::beast::http;
using asio::use_awaitable;
using nlohmann::json;
using Clock = std::chrono::steady_clock;
using Seconds = std::chrono::duration<double>;

struct Shared {
  asio::ip::tcp::endpoint daemon;
  std::string job;
  std::size_t trials = 0;
  Clock::duration evaluation{};

  std::optional<Clock::time_point> first_lease;
  Clock::time_point last_result;
  std::size_t results = 0;
  std::vector<double> gaps_ms;
};

class Worker {
 public:
  Worker(asio::io_context& context, Shared& shared, std::size_t number)
      : shared_(shared),
        name_("worker-" + std::to_string(number)),
        socket_(context),
        timer_(context) {}

  asio::awaitable<void> run() {
    co_await socket_.async_connect(shared_.daemon, use_awaitable);
    socket_.set_option(asio::ip::tcp::no_delay(true));
    std::optional<Clock::time_point> ended;
    while (const std::optional<json> lease = co_await take()) {
      const auto began = Clock::now();
      if (!shared_.first_lease) shared_.first_lease = began;
      if (ended) shared_.gaps_ms.push_back(1000 * Seconds(began - *ended).count());
      ended = began + shared_.evaluation;
      timer_.expires_at(*ended);
      co_await timer_.async_wait(use_awaitable);
      co_await bring(*lease);
    }
  }

 private:
  /// The next attempt; nothing once all results are there.
  asio::awaitable<std::optional<json>> take() {
    while (shared_.results < shared_.trials) {
      const json body{{"worker", name_},
                      {"evaluator", "external"},
                      {"job", shared_.job},
                      {"request", std::to_string(++asked_)},
                      {"wait_s", 2}};
      const auto [status, answer] = co_await post("/v1/leases", body);
      require(status == 200, answer);
      const json& leases = answer.at("leases");
      if (!leases.empty()) co_return leases.front();
    }
    co_return std::nullopt;
  }

  asio::awaitable<void> bring(const json& lease) {
    const json& request = lease.at("request");
    const double x = request.at("candidate").at("x").get<double>();
    const double y = request.at("candidate").at("y").get<double>();
    const json message{{"type", "result"},
                       {"id", request.at("id")},
                       {"objectives", {{"f1", x * x + y * y}, {"f2", (x - 1) * (x - 1) + y * y}}}};
    const json result{{"lease", lease.at("lease")}, {"message", message}};
    const json body{{"worker", name_}, {"results", json::array({result})}};
    const auto [status, answer] = co_await post("/v1/leases:result", body);
    require(status == 200 && answer.at("results").at(0).at("status") == "accepted", answer);
    shared_.last_result = Clock::now();
    ++shared_.results;
  }

  struct Reply {
    unsigned status;
    json body;
  };
  asio::awaitable<Reply> post(const std::string& target, const json& body) {
    http::request<http::string_body> request(http::verb::post, target, 11);
    request.set(http::field::host, "localhost");
    request.set(http::field::content_type, "application/json");
    request.body() = body.dump();
    request.prepare_payload();
    co_await http::async_write(socket_, request, use_awaitable);
    http::response<http::string_body> response;
    co_await http::async_read(socket_, buffer_, response, use_awaitable);
    co_return Reply{response.result_int(), json::parse(response.body())};
  }

  static void require(bool holds, const json& answer) {
    if (!holds) throw std::runtime_error("the daemon answered " + answer.dump());
  }

  Shared& shared_;
  const std::string name_;
  std::size_t asked_ = 0;
  asio::ip::tcp::socket socket_;
  asio::steady_timer timer_;
  boost::beast::flat_buffer buffer_;
};

void print(Shared& shared, std::size_t workers) {
  std::sort(shared.gaps_ms.begin(), shared.gaps_ms.end());
  const auto gap = [&](std::size_t percent) -> json {
    if (shared.gaps_ms.empty()) return nullptr;
    return shared
        .gaps_ms[std::min(shared.gaps_ms.size() - 1, shared.gaps_ms.size() * percent / 100)];
  };
  const double wall = Seconds(shared.last_result - shared.first_lease.value()).count();
  const double evaluated = static_cast<double>(shared.results) * Seconds(shared.evaluation).count();
  std::printf("%s\n", json{{"results", shared.results},
                           {"wall_s", wall},
                           {"busy", evaluated / (static_cast<double>(workers) * wall)},
                           {"gap_p50_ms", gap(50)},
                           {"gap_p99_ms", gap(99)},
                           {"gap_max_ms", gap(100)}}
                          .dump()
                          .c_str());
}

int run(int argc, char** argv) {
  if (argc != 7) {
    std::fprintf(stderr,
                 "usage: workers_bench HOST PORT JOB TRIALS WORKERS SECONDS (numeric HOST)\n");
    return 2;
  }
  Shared shared;
  shared.daemon = {asio::ip::make_address(argv[1]),
                   static_cast<std::uint16_t>(std::strtoul(argv[2], nullptr, 10))};
  shared.job = argv[3];
  shared.trials = std::strtoull(argv[4], nullptr, 10);
  const std::size_t count = std::strtoull(argv[5], nullptr, 10);
  shared.evaluation =
      std::chrono::duration_cast<Clock::duration>(Seconds(std::strtod(argv[6], nullptr)));

  asio::io_context context(1);
  std::vector<std::unique_ptr<Worker>> workers;
  for (std::size_t i = 0; i < count; ++i) {
    workers.push_back(std::make_unique<Worker>(context, shared, i));
    asio::co_spawn(context, workers.back()->run(), [](const std::exception_ptr& error) {
      if (error) std::rethrow_exception(error);
    });
  }
  context.run();
  if (shared.results == 0) throw std::runtime_error("the job gave no attempt to anybody");
  print(shared, count);
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return run(argc, argv);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "workers_bench: %s\n", error.what());
    return 1;
  }
}
