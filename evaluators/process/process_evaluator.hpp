#pragma once
// Runs an evaluator program as persistent child processes that speak the evaluator protocol
// (protocol.hpp) on stdin and stdout.
//
// One thread does all input and output.  A process that dies, breaks the protocol or ignores a
// cancel takes its own attempts with it (faults, with the reason; those that only shared the
// process with one that hung are transient) and is started again, at once after it has done useful
// work, else after 0.1 s, doubling up to 30 s.  A request that failed before (`avoid`) runs alone
// in its process, in another one if there is one.  While no process can be started, waiting
// requests fail as transient instead of waiting for ever.

#include <cstddef>
#include <memory>
#include <string>
#include <vector>

#include "evaluators/evaluator.hpp"
#include "optimizers/core/params.hpp"

namespace paretod {

struct ProcessConfig {
  std::vector<std::string> argv;
  std::int64_t processes = 1;
  std::vector<std::string> environment;
  double hello_timeout_s = 30;
  double grace_s = 5;
  std::int64_t memory_mb = 0;
  std::int64_t cpu_s = 0;
  std::int64_t file_mb = 0;
  std::int64_t processes_max = 0;
};

template <>
Fields<ProcessConfig> describe();

/// A program that is installed with the daemon: beside it, or else wherever PATH finds the name.
std::string installed_program(const std::string& name);

class ProcessPool;

class ProcessEvaluator final : public Evaluator {
 public:
  /// Returns when every process has said hello; the first one that does not makes it fail, with
  /// its exit status and the last lines of its stderr.  `type` is what it describes itself as.
  static Result<std::unique_ptr<ProcessEvaluator>> start(const ProcessConfig& config,
                                                         const EvaluatorEnvironment& environment,
                                                         const std::string& type = "process");
  /// Ends the process groups: end of input and SIGTERM, after the grace period SIGKILL.
  ~ProcessEvaluator() override;

  [[nodiscard]] EvaluatorDescription describe() const override { return description_; }
  [[nodiscard]] Problems check(const EvaluationContext& context) const override;
  void evaluate(std::vector<EvaluationRequest> requests, Reply reply) override;
  /// Tells the process; one that does not answer within the grace period is killed.
  void cancel(std::uint64_t ticket) override;

  /// The last 64 KiB that each process slot wrote to stderr.
  [[nodiscard]] std::vector<std::string> stderr_tails() const;

 private:
  ProcessEvaluator(std::unique_ptr<ProcessPool> pool, EvaluatorDescription description);

  std::unique_ptr<ProcessPool> pool_;
  EvaluatorDescription description_;
};

EvaluatorType process_evaluator_type();

}  // namespace paretod
