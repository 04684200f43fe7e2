#include "evaluators/process/process_evaluator.hpp"

#include <cstdlib>
#include <filesystem>
#include <utility>

#include "evaluators/declared.hpp"
#include "evaluators/process/process_pool.hpp"

namespace paretod {
namespace {

/// What most programs need and nothing that could be a secret.
constexpr const char* usual_variables[] = {"PATH",   "HOME",   "USER", "LANG",
                                           "LC_ALL", "TMPDIR", "TZ"};

std::vector<std::string> environment_of(const std::vector<std::string>& configured) {
  std::vector<std::string> out;
  const auto pass = [&out](const std::string& name) {
    if (const char* value = std::getenv(name.c_str())) out.push_back(name + "=" + value);
  };
  for (const char* name : usual_variables) pass(name);
  for (const std::string& entry : configured) {
    if (entry.find('=') == std::string::npos) {
      pass(entry);
    } else {
      out.push_back(entry);
    }
  }
  return out;
}

}  // namespace

template <>
Fields<ProcessConfig> describe() {
  return Fields<ProcessConfig>()
      .add("argv", &ProcessConfig::argv,
           "program and arguments, started without a shell in the directory of the configuration "
           "file; a program without '/' is looked up on PATH")
      .add("processes", &ProcessConfig::processes,
           "how many copies of the program run; each sees its number, from 0, in PARETOD_PROCESS",
           1, 1024)
      .add("environment", &ProcessConfig::environment,
           "environment variables beyond PATH, HOME, USER, LANG, LC_ALL, TMPDIR and TZ: NAME "
           "passes the daemon's value on, NAME=value sets one")
      .add("hello_timeout_s", &ProcessConfig::hello_timeout_s,
           "seconds a process may take to say hello; loading a model counts", 0.1, 86'400)
      .add("grace_s", &ProcessConfig::grace_s,
           "seconds a process may take to answer a cancel, or to end, before it is killed", 0.01,
           3'600)
      .add("memory_mb", &ProcessConfig::memory_mb,
           "MiB of address space that a process may map (RLIMIT_AS; a GPU library maps far more "
           "than it uses); 0: no limit",
           0, 1e9)
      .add(
          "cpu_s", &ProcessConfig::cpu_s,
          "seconds of CPU time after which a process is killed and started again (RLIMIT_CPU, over "
          "its whole life); 0: no limit",
          0, 1e9)
      .add("file_mb", &ProcessConfig::file_mb,
           "MiB that a file which a process writes may have (RLIMIT_FSIZE); 0: no limit", 0, 1e9)
      .add("processes_max", &ProcessConfig::processes_max,
           "processes and threads that the daemon's user may have altogether when a process starts "
           "another (RLIMIT_NPROC; does not bind root); 0: no limit",
           0, 4e6);
}

std::string installed_program(const std::string& name) {
  std::error_code error;
  const auto daemon = std::filesystem::read_symlink("/proc/self/exe", error);
  const auto beside = daemon.parent_path() / name;
  return !error && std::filesystem::exists(beside, error) ? beside.string() : name;
}

ProcessEvaluator::ProcessEvaluator(std::unique_ptr<ProcessPool> pool,
                                   EvaluatorDescription description)
    : pool_(std::move(pool)), description_(std::move(description)) {}

ProcessEvaluator::~ProcessEvaluator() = default;

Result<std::unique_ptr<ProcessEvaluator>> ProcessEvaluator::start(
    const ProcessConfig& config, const EvaluatorEnvironment& environment, const std::string& type) {
  if (config.argv.empty() || config.argv[0].empty()) {
    return invalid("the evaluator is not configured",
                   {{"/argv", "has to name a program, and its arguments"}});
  }
  PoolConfig pool_config;
  pool_config.command.argv = config.argv;
  pool_config.command.environment = environment_of(config.environment);
  pool_config.command.directory = environment.base_directory;
  pool_config.command.limits = {config.memory_mb, config.cpu_s, config.file_mb,
                                config.processes_max};
  pool_config.processes = static_cast<std::size_t>(config.processes);
  pool_config.hello_timeout = std::chrono::duration<double>(config.hello_timeout_s);
  pool_config.grace = std::chrono::duration<double>(config.grace_s);
  auto pool = std::make_unique<ProcessPool>(std::move(pool_config));
  auto hello = pool->wait_started();
  if (!hello) return hello.error();
  EvaluatorDescription description = std::move(hello->description);
  description.type = type;
  description.slots *= static_cast<std::size_t>(config.processes);
  return std::unique_ptr<ProcessEvaluator>(
      new ProcessEvaluator(std::move(pool), std::move(description)));
}

Problems ProcessEvaluator::check(const EvaluationContext& context) const {
  return check_declared(description_, context);
}

void ProcessEvaluator::evaluate(std::vector<EvaluationRequest> requests, Reply reply) {
  pool_->submit(std::move(requests), std::move(reply));
}

void ProcessEvaluator::cancel(std::uint64_t ticket) {
  pool_->cancel(ticket);
}

std::vector<std::string> ProcessEvaluator::stderr_tails() const {
  return pool_->stderr_tails();
}

EvaluatorType process_evaluator_type() {
  EvaluatorType type;
  type.name = "process";
  type.summary = "Your own program, which reads requests and writes results as lines of JSON.";
  type.fields = paretod::describe<ProcessConfig>().infos();
  type.create = [](const ParamValues& values,
                   const EvaluatorEnvironment& environment) -> Result<std::unique_ptr<Evaluator>> {
    const auto config = paretod::describe<ProcessConfig>().bind(values, "");
    if (!config) return config.error();
    auto evaluator = ProcessEvaluator::start(*config, environment);
    if (!evaluator) return evaluator.error();
    return std::unique_ptr<Evaluator>(std::move(*evaluator));
  };
  return type;
}

}  // namespace paretod
