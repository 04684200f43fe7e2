// What the process evaluator costs by itself, without a daemon: microseconds per request of an
// evaluator program (which declares its space), with as many requests in hand as it has slots.
//   process_bench REQUESTS PROGRAM [ARGUMENT...]

#include <chrono>
#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "evaluators/process/process_evaluator.hpp"
#include "optimizers/core/rng.hpp"

namespace {

using namespace paretod;

/// Keeps the evaluator's slots full until everything is answered.
class Run {
 public:
  Run(Evaluator& evaluator, std::size_t requests) : evaluator_(evaluator), requests_(requests) {
    const EvaluatorDescription description = evaluator.describe();
    EvaluationContext context;
    context.job = "bench";
    context.space = SearchSpace::make(description.space.value()).value();
    context.objectives = description.objectives;
    context_ = std::make_shared<const EvaluationContext>(std::move(context));
    slots_ = description.slots;
  }

  /// Microseconds per request.
  double measure() {
    const auto start = std::chrono::steady_clock::now();
    ask(slots_);
    std::unique_lock lock(mutex_);
    all_answered_.wait(lock, [this] { return answered_ == requests_; });
    const std::chrono::duration<double, std::micro> took = std::chrono::steady_clock::now() - start;
    return took.count() / static_cast<double>(requests_);
  }

  std::size_t failed() const { return failed_; }

 private:
  void ask(std::size_t count) {
    std::vector<EvaluationRequest> requests;
    {
      const std::lock_guard lock(mutex_);
      for (; count > 0 && asked_ < requests_; --count) {
        ++asked_;
        Rng rng(1, asked_);
        requests.push_back({asked_, context_, asked_, 1, {context_->space.sample(rng)}});
      }
    }
    if (requests.empty()) return;
    evaluator_.evaluate(std::move(requests),
                        [this](std::vector<EvaluationReply> replies) { take(replies); });
  }

  void take(const std::vector<EvaluationReply>& replies) {
    ask(replies.size());
    const std::lock_guard lock(mutex_);
    for (const EvaluationReply& reply : replies) {
      failed_ += reply.outcome.status == TrialStatus::ok ? 0 : 1;
    }
    answered_ += replies.size();
    if (answered_ == requests_) all_answered_.notify_one();
  }

  Evaluator& evaluator_;
  const std::size_t requests_;
  std::size_t slots_ = 1;
  std::shared_ptr<const EvaluationContext> context_;
  std::mutex mutex_;
  std::condition_variable all_answered_;
  std::size_t asked_ = 0;
  std::size_t answered_ = 0;
  std::size_t failed_ = 0;
};

}  // namespace

int main(int argc, char** argv) {
  if (argc < 3) return 2;
  ProcessConfig config;
  config.argv.assign(argv + 2, argv + argc);
  const auto evaluator = ProcessEvaluator::start(config, {});
  if (!evaluator) {
    std::fprintf(stderr, "process_bench: %s\n", evaluator.error().text().c_str());
    return 1;
  }
  Run run(**evaluator, std::strtoull(argv[1], nullptr, 10));
  const double microseconds = run.measure();
  if (run.failed() > 0) {
    std::fprintf(stderr, "process_bench: %zu requests failed\n", run.failed());
    return 1;
  }
  std::printf("%.2f\n", microseconds);
  return 0;
}
