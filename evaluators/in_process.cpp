#include "evaluators/in_process.hpp"

#include <algorithm>
#include <chrono>
#include <exception>
#include <iterator>
#include <utility>

namespace paretod {

InProcessEvaluator::InProcessEvaluator(std::size_t threads)
    : thread_count_(std::max<std::size_t>(threads, 1)) {}

InProcessEvaluator::~InProcessEvaluator() {
  stop();
}

void InProcessEvaluator::stop() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
    queue_.clear();
  }
  ready_.notify_all();
  for (std::thread& thread : threads_) thread.join();
  threads_.clear();
}

void InProcessEvaluator::evaluate(std::vector<EvaluationRequest> requests, Reply reply) {
  const auto shared = std::make_shared<const Reply>(std::move(reply));
  std::size_t wake = 0;
  {
    const std::lock_guard lock(mutex_);
    if (stopping_) return;
    if (threads_.empty()) {
      for (std::size_t i = 0; i < thread_count_; ++i) threads_.emplace_back([this] { work(); });
    }
    for (EvaluationRequest& request : requests) queue_.push_back({std::move(request), shared});
    wake = std::min(idle_, queue_.size());
  }
  for (; wake > 0; --wake) ready_.notify_one();
}

void InProcessEvaluator::cancel(std::uint64_t ticket) {
  Queued dropped;
  {
    const std::lock_guard lock(mutex_);
    const auto found = std::find_if(queue_.begin(), queue_.end(), [ticket](const Queued& queued) {
      return queued.request.ticket == ticket;
    });
    if (found == queue_.end()) return;
    dropped = std::move(*found);
    queue_.erase(found);
  }
  (*dropped.reply)({{ticket, ReplyKind::done, Outcome::failure(TrialStatus::failed, "cancelled")}});
}

void InProcessEvaluator::work() {
  std::vector<EvaluationRequest> requests;
  std::vector<std::shared_ptr<const Reply>> replies;
  std::unique_lock lock(mutex_);
  while (true) {
    ++idle_;
    ready_.wait(lock, [this] { return stopping_ || !queue_.empty(); });
    --idle_;
    if (stopping_) return;
    // A fair share, so that no thread idles while another holds a long batch.
    const auto context = queue_.front().request.context;
    const std::size_t share = std::min(std::max<std::size_t>(largest_batch(*context), 1),
                                       (queue_.size() + thread_count_ - 1) / thread_count_);
    while (requests.size() < share && queue_.front().request.context == context) {
      requests.push_back(std::move(queue_.front().request));
      replies.push_back(std::move(queue_.front().reply));
      queue_.pop_front();
    }
    lock.unlock();

    const auto start = std::chrono::steady_clock::now();
    std::vector<Outcome> outcomes;
    try {
      outcomes = evaluate_batch(requests);
    } catch (const std::exception& error) {
      outcomes.assign(requests.size(), Outcome::failure(TrialStatus::failed, error.what()));
    } catch (...) {
      outcomes.assign(requests.size(),
                      Outcome::failure(TrialStatus::failed, "the evaluator threw"));
    }
    const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - start;
    std::vector<EvaluationReply> answers;
    for (std::size_t i = 0; i < requests.size(); ++i) {
      outcomes[i].cost.seconds = elapsed.count() / static_cast<double>(requests.size());
      answers.push_back({requests[i].ticket, ReplyKind::done, std::move(outcomes[i])});
      if (i + 1 < requests.size() && replies[i + 1] == replies[i]) continue;
      (*replies[i])(std::exchange(answers, {}));
    }
    requests.clear();
    replies.clear();
    lock.lock();
  }
}

}  // namespace paretod
