#pragma once
// Base of evaluators that compute inside the daemon: a queue and a few threads, so that a subclass
// only writes the computation.

#include <condition_variable>
#include <deque>
#include <mutex>
#include <span>
#include <thread>
#include <vector>

#include "evaluators/evaluator.hpp"

namespace paretod {

class InProcessEvaluator : public Evaluator {
 public:
  void evaluate(std::vector<EvaluationRequest> requests, Reply reply) final;
  /// Drops the request if it has not started (replying failed, "cancelled").
  void cancel(std::uint64_t ticket) final;

 protected:
  /// `threads` workers, each taking several queued requests of one job at a time.  Threads start
  /// with the first request.
  explicit InProcessEvaluator(std::size_t threads);
  /// A subclass's destructor must call stop() first: workers call its evaluate_batch().
  ~InProcessEvaluator() override;
  void stop();

  /// How many requests of this job a worker may take at once: more where that makes them cheaper,
  /// one where they would only wait for each other.  Called under a lock: must be quick.
  [[nodiscard]] virtual std::size_t largest_batch(const EvaluationContext& context) const = 0;
  /// One outcome per request, in order, all of one context; called on worker threads, at most
  /// `threads` at once.  An exception becomes a failed outcome for every request of the batch.
  virtual std::vector<Outcome> evaluate_batch(std::span<const EvaluationRequest> requests) = 0;

 private:
  struct Queued {
    EvaluationRequest request;
    std::shared_ptr<const Reply> reply;
  };
  void work();

  const std::size_t thread_count_;
  std::mutex mutex_;
  std::condition_variable ready_;
  std::deque<Queued> queue_;
  std::size_t idle_ = 0;
  bool stopping_ = false;
  std::vector<std::thread> threads_;
};

}  // namespace paretod
