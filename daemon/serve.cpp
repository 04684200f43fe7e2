#include "daemon/serve.hpp"

#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <future>
#include <thread>

#include "daemon/config.hpp"
#include "daemon/evaluator_setup.hpp"
#include "daemon/jobs/job_manager.hpp"
#include "daemon/logger.hpp"
#include "daemon/rest/api.hpp"
#include "daemon/store/attempt_logs.hpp"
#include "daemon/store_setup.hpp"
#include "daemon/version.hpp"
#include "evaluators/registry.hpp"
#include "optimizers/registry.hpp"

namespace paretod {
namespace {

namespace fs = std::filesystem;

/// Waits for SIGTERM or SIGINT on a thread of its own.  The second one ends the process: whatever
/// keeps the drain from ending, nothing durable is lost.
class StopSignal {
 public:
  StopSignal() {
    sigemptyset(&signals_);
    sigaddset(&signals_, SIGTERM);
    sigaddset(&signals_, SIGINT);
    pthread_sigmask(SIG_BLOCK, &signals_, nullptr);
    signal(SIGPIPE, SIG_IGN);
    std::thread([signals = signals_, promise = std::move(promise_)]() mutable {
      int received = 0;
      sigwait(&signals, &received);
      promise.set_value(received);
      sigwait(&signals, &received);
      std::_Exit(128 + received);
    }).detach();
  }
  std::string wait() { return future_.get() == SIGINT ? "SIGINT" : "SIGTERM"; }

 private:
  sigset_t signals_{};
  std::promise<int> promise_;
  std::future<int> future_ = promise_.get_future();
};

Logger make_logger(const DaemonConfig& config) {
  auto level = Logger::Level::info;
  if (config.log_level == "debug") level = Logger::Level::debug;
  if (config.log_level == "warning") level = Logger::Level::warning;
  if (config.log_level == "error") level = Logger::Level::error;
  const bool text =
      config.log_format == "text" || (config.log_format == "auto" && isatty(STDERR_FILENO) == 1);
  return {level, text ? Logger::Format::text : Logger::Format::json};
}

Result<std::string> read_token(const std::string& file, const std::string& field) {
  std::string token;
  if (!file.empty()) std::getline(std::ifstream(file), token);
  // No client could send what an editor leaves at the end of a line.
  token.erase(token.find_last_not_of(" \t\r") + 1);
  if (file.empty() || token.size() >= 16) return token;
  return invalid(field + ": " + file +
                 " must hold a token of at least 16 characters on its first line");
}

/// An evaluator that does not start keeps nobody from the other jobs, nor from what its own have
/// found: they wait.
Result<std::unique_ptr<Catalog>> make_catalog(const DaemonConfig& config, Logger& logger) {
  const EvaluatorEnvironment environment = evaluator_environment(config);
  auto evaluators = builtin_evaluators(environment);
  Problems problems;
  std::vector<std::pair<std::string, std::string>> absent;
  for (const auto& [name, block] : config.evaluators) {
    auto made = make_evaluator(name, block, environment);
    if (made) {
      evaluators.emplace_back(name, std::move(*made));
    } else if (made.error().kind == ErrorKind::unavailable) {
      const Problem& first = made.error().problems.front();
      absent.emplace_back(name, first.message);
      logger.error("an evaluator does not start; its jobs wait, and new ones are refused",
                   {{"evaluator", name}, {"field", first.pointer}, {"reason", first.message}});
    } else {
      const Problems& found = made.error().problems;
      problems.insert(problems.end(), found.begin(), found.end());
    }
  }
  if (!problems.empty()) return invalid("the evaluators cannot be set up", std::move(problems));
  auto catalog = Catalog::make(builtin_optimizers(), std::move(evaluators));
  if (!catalog) return catalog;
  for (auto& [name, reason] : absent) (*catalog)->add_absent(name, reason);
  return catalog;
}

/// <state directory>/address tells scripts where the daemon listens, for as long as it does.
class AddressFile {
 public:
  AddressFile(const fs::path& directory, const std::string& url) : file_(directory / "address") {
    std::ofstream(file_) << url << '\n';
  }
  ~AddressFile() {
    std::error_code ignored;
    fs::remove(file_, ignored);
  }
  AddressFile(const AddressFile&) = delete;
  AddressFile& operator=(const AddressFile&) = delete;

 private:
  const fs::path file_;
};

int complain(const Error& error) {
  std::fprintf(stderr, "paretod: %s\n", error.text().c_str());
  return 1;
}

/// 2,048 connections do not fit in the usual soft limit of 1,024 descriptors.
void raise_descriptor_limit() {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = std::min<rlim_t>(limit.rlim_max, 16'384);
  setrlimit(RLIMIT_NOFILE, &limit);
}

int run(const DaemonConfig& config, StopSignal& stop) {
  Logger logger = make_logger(config);
  auto token = read_token(config.token_file, "/listen/token_file");
  if (!token) return complain(token.error());
  auto worker_token = read_token(config.worker_token_file, "/listen/worker_token_file");
  if (!worker_token) return complain(worker_token.error());
  auto catalog = make_catalog(config, logger);
  if (!catalog) return complain(catalog.error());
  auto store = open_store(config, logger);
  if (!store) return complain(store.error());
  logger.info("store is open", {{"durability", store->backend->durability()}});

  AttemptLogs logs(fs::path(config.state_directory) / "attempts");
  JobManager manager(*store->backend, **catalog,
                     {.max_active_jobs = config.max_active_jobs,
                      .max_stored_jobs = config.max_stored_jobs,
                      .dispatcher = {.lease_ttl = std::chrono::milliseconds(
                                         std::llround(config.lease_ttl_seconds * 1000)),
                                     .keep_log =
                                         [&logs](const std::string& job, TrialNumber trial,
                                                 std::uint32_t attempt, std::string text) {
                                           logs.keep(job, trial, {attempt, std::move(text)});
                                         }},
                      .build = std::string(build_version()),
                      .on_lifecycle = [&logger](const std::string& job, std::string_view what,
                                                const std::string& detail) {
                        logger.info("job " + std::string(what), {{"job", job}, {"detail", detail}});
                      }});

  HttpServer* serving = nullptr;
  ApiOptions api_options;
  api_options.token = *token;
  api_options.worker_token = *worker_token;
  api_options.rate = config.rate;
  api_options.logs = &logs;
  api_options.system.build = std::string(build_version());
  api_options.system.http_counters = [&serving] { return serving->counters(); };
  api_options.system.readiness = [&store] {
    const Health health = store->health();
    return std::vector<ReadinessCheck>{{"store", health.ok, health.ok ? "ok" : health.reason}};
  };
  Api api(manager, std::move(api_options));
  HttpHooks hooks = api.hooks();
  hooks.failed = [&logger](const HttpRequest& request, const std::string& what) {
    logger.error("a request failed", {{"path", request.path}, {"what", what}});
  };
  HttpServer server(std::move(hooks), {}, config.host_names);
  serving = &server;
  // Bound before the jobs start, so that a taken port is found out before anything runs; clients
  // that come early wait in the backlog.
  if (auto listening = server.listen(config.address, config.port); !listening) {
    return complain(listening.error());
  }
  if (auto recovered = manager.recover(); !recovered) return complain(recovered.error());
  for (const auto& [id, error] : manager.unreadable()) {
    logger.error("a job's log cannot be read; it is left alone",
                 {{"job", id}, {"reason", error.message}});
  }
  server.start(config.http_threads);
  const std::string url = "http://" + config.address + ":" + std::to_string(server.port());
  const AddressFile address(config.state_directory, url);
  logger.info("paretod is ready", {{"address", url},
                                   {"jobs", static_cast<std::int64_t>(manager.list().size())},
                                   {"build", std::string(build_version())}});

  const std::string signal_name = stop.wait();
  logger.info("stopping: waiting for evaluations in flight",
              {{"signal", signal_name}, {"at_most_s", config.drain_seconds}});
  server.stop_accepting();
  manager.drain(config.drain_seconds);
  server.drain(std::chrono::seconds(5));
  server.stop();
  logger.info("stopped");
  return 0;
}

}  // namespace

int serve(const ServeOptions& options) {
  auto config = load_config(options);
  if (!config) return complain(config.error());
  StopSignal stop;
  raise_descriptor_limit();
  return run(*config, stop);
}

}  // namespace paretod
