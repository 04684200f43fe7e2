#include "daemon/work.hpp"

#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <thread>
#include <utility>

#include "daemon/config.hpp"
#include "daemon/evaluator_setup.hpp"
#include "daemon/jobs/job_spec.hpp"
#include "daemon/version.hpp"
#include "daemon/worker/spool_folder.hpp"
#include "daemon/worker/worker.hpp"
#include "evaluators/registry.hpp"

namespace paretod {
namespace {

void say(const std::string& line) {
  std::fprintf(stderr, "paretod worker: %s\n", line.c_str());
}

int complain(const Error& error) {
  say(error.text());
  return 1;
}

/// Signals that end a worker, and SIGUSR1, which says that it has ended; blocked in every thread.
class Signals {
 public:
  Signals() {
    sigemptyset(&signals_);
    for (const int number : {SIGTERM, SIGINT, SIGUSR1}) sigaddset(&signals_, number);
    pthread_sigmask(SIG_BLOCK, &signals_, nullptr);
    signal(SIGPIPE, SIG_IGN);
  }

  int wait() {
    int received = 0;
    sigwait(&signals_, &received);
    return received;
  }

 private:
  sigset_t signals_{};
};

/// The named evaluator of the configuration, or the built-in one of that name.
Result<std::unique_ptr<Evaluator>> find_evaluator(const DaemonConfig& config,
                                                  const WorkOptions& options) {
  EvaluatorEnvironment environment = evaluator_environment(config);
  if (options.slots) environment.threads = *options.slots;
  if (const auto block = config.evaluators.find(options.evaluator);
      block != config.evaluators.end()) {
    return make_evaluator(block->first, block->second, environment);
  }
  std::string known;
  for (const auto& [name, block] : config.evaluators) known += name + ", ";
  for (auto& [name, evaluator] : builtin_evaluators(environment)) {
    if (name == options.evaluator) return std::move(evaluator);
    known += name + ", ";
  }
  known.resize(known.size() - 2);
  return Error{ErrorKind::not_found,
               "there is no evaluator \"" + options.evaluator +
                   "\"; name the file that configures it by --config (known: " + known + ")"};
}

Result<std::size_t> choose_slots(const std::optional<std::size_t>& asked,
                                 const EvaluatorDescription& declared) {
  const std::size_t slots = asked.value_or(declared.slots);
  if (slots <= declared.slots) return slots;
  return invalid("--slots " + std::to_string(slots) +
                 " is more than the evaluator works on at once (" + std::to_string(declared.slots) +
                 ")");
}

/// Runs it on a thread of its own, since this one waits for signals.
Result<void> run(Worker& worker, Signals& signals) {
  Result<void> ended;
  std::atomic<bool> over = false;
  const pthread_t self = pthread_self();
  std::thread running([&] {
    ended = worker.run();
    over = true;
    pthread_kill(self, SIGUSR1);
  });
  for (int stops = 0; !over;) {
    const int received = signals.wait();
    if (received == SIGUSR1) continue;
    switch (++stops) {
      case 1:
        say("stopping: running attempts may end; a second signal gives them back at once");
        worker.stop();
        break;
      case 2:
        worker.abandon();
        break;
      default:
        std::_Exit(128 + received);
    }
  }
  running.join();
  return ended;
}

}  // namespace

int work(const WorkOptions& options) {
  if (options.name && (!valid_job_name(*options.name) || options.name->front() == '.')) {
    return complain(invalid("--name takes 1 to 64 letters, digits, '.', '_' or '-'"));
  }
  const auto config =
      load_config({.config_file = options.config_file, .state_dir = options.state_dir});
  if (!config) return complain(config.error());
  Signals signals;
  auto spool = open_worker_spool(config->state_directory, options.name, options.url, say);
  if (!spool) return complain(spool.error());
  auto evaluator = find_evaluator(*config, options);
  if (!evaluator) return complain(evaluator.error());
  const auto slots = choose_slots(options.slots, (*evaluator)->describe());
  if (!slots) return complain(slots.error());

  WorkerOptions settings{
      .name = options.name.value_or(host_name() + "-" + std::to_string(getpid())),
      .evaluator = options.evaluator,
      .job = options.job,
      .slots = *slots,
      .grace_s = options.grace_s,
      .idle_exit_s = options.idle_exit_s};
  say(settings.name + " works on " + std::to_string(*slots) + " attempts of " + options.evaluator +
      " at once for " + options.url);
  if (const std::size_t left = (*spool)->pending_count(); left > 0) {
    say(std::to_string(left) + " results of an earlier worker are reported first");
  }
  const auto connect = [&options](HttpClientOptions http) {
    http.user_agent = "paretod/" + std::string(build_version());
    return cli::DaemonApi(HttpClient(std::move(http)), options.url, options.token);
  };
  Worker worker(std::move(settings), std::move(*evaluator), **spool, connect, say);
  const auto ended = run(worker, signals);
  if (const std::size_t left = (*spool)->pending_count(); left > 0) {
    say(std::to_string(left) + " results wait in " + (*spool)->folder().string() +
        " until the next worker reports them");
  }
  return ended ? 0 : complain(ended.error());
}

}  // namespace paretod
