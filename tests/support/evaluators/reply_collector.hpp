#pragma once
// Collects the replies of an evaluator under test, so that a test can wait for them.  Must outlive
// the evaluator.

#include <algorithm>
#include <condition_variable>
#include <cstddef>
#include <mutex>
#include <utility>
#include <vector>

#include "evaluators/evaluator.hpp"

namespace paretod {

class ReplyCollector {
 public:
  Evaluator::Reply sink() {
    return [this](std::vector<EvaluationReply> replies) {
      const std::lock_guard lock(mutex_);
      for (EvaluationReply& reply : replies) replies_.push_back(std::move(reply));
      arrived_.notify_all();
    };
  }

  /// Blocks until so many replies have arrived since the last take(); a test that waits in vain
  /// is ended by its time limit.
  void wait_for(std::size_t count) {
    std::unique_lock lock(mutex_);
    arrived_.wait(lock, [&] { return replies_.size() >= count; });
  }

  /// All replies so far, by ticket.
  std::vector<EvaluationReply> take() {
    const std::lock_guard lock(mutex_);
    std::vector<EvaluationReply> out = std::exchange(replies_, {});
    std::stable_sort(out.begin(), out.end(),
                     [](const auto& a, const auto& b) { return a.ticket < b.ticket; });
    return out;
  }

  std::size_t count() {
    const std::lock_guard lock(mutex_);
    return replies_.size();
  }

 private:
  std::mutex mutex_;
  std::condition_variable arrived_;
  std::vector<EvaluationReply> replies_;
};

}  // namespace paretod
