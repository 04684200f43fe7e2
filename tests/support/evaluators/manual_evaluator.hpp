#pragma once
// An evaluator whose attempts end when a test says so.  Its state outlives it, so that a test may
// hand it over and go on steering it.

#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "evaluators/evaluator.hpp"

namespace paretod {

class ManualEvaluator final : public Evaluator {
 public:
  class Control {
   public:
    /// Blocks until the evaluator was given so many requests; all of them, oldest first.
    std::vector<EvaluationRequest> wait_requests(std::size_t count) {
      std::unique_lock lock(mutex_);
      changed_.wait(lock, [&] { return requests_.size() >= count; });
      return requests_;
    }
    std::vector<std::uint64_t> wait_cancelled(std::size_t count) {
      std::unique_lock lock(mutex_);
      changed_.wait(lock, [&] { return cancelled_.size() >= count; });
      return cancelled_;
    }
    void answer(EvaluationReply reply) {
      Reply sink;
      {
        const std::lock_guard lock(mutex_);
        sink = reply_;
      }
      std::vector<EvaluationReply> replies;
      replies.push_back(std::move(reply));
      sink(std::move(replies));
    }
    void finish(std::uint64_t ticket, double value) {
      EvaluationReply reply;
      reply.ticket = ticket;
      reply.outcome.objectives = {{value}};
      answer(std::move(reply));
    }

   private:
    friend class ManualEvaluator;
    std::mutex mutex_;
    std::condition_variable changed_;
    std::vector<EvaluationRequest> requests_;
    std::vector<std::uint64_t> cancelled_;
    Reply reply_;
  };

  /// With `at_once`, every attempt ends by itself with its first coordinate as the value.
  explicit ManualEvaluator(std::shared_ptr<Control> control, bool at_once = false,
                           bool paid = false)
      : control_(std::move(control)), at_once_(at_once), paid_(paid) {}

  [[nodiscard]] EvaluatorDescription describe() const override {
    EvaluatorDescription description;
    description.slots = 4;
    description.paid = paid_;
    return description;
  }
  [[nodiscard]] Problems check(const EvaluationContext& context) const override {
    if (context.space.dimension() == 2) return {};
    return {{"/space", "has to have two parameters"}};
  }
  void evaluate(std::vector<EvaluationRequest> requests, Reply reply) override {
    {
      const std::lock_guard lock(control_->mutex_);
      for (const EvaluationRequest& request : requests) control_->requests_.push_back(request);
      control_->reply_ = std::move(reply);
    }
    control_->changed_.notify_all();
    if (!at_once_) return;
    for (const EvaluationRequest& request : requests) {
      control_->finish(request.ticket, request.candidate.point.at(0));
    }
  }
  void cancel(std::uint64_t ticket) override {
    {
      const std::lock_guard lock(control_->mutex_);
      control_->cancelled_.push_back(ticket);
    }
    control_->changed_.notify_all();
    EvaluationReply reply;
    reply.ticket = ticket;
    reply.outcome = Outcome::failure(TrialStatus::failed, "cancelled");
    control_->answer(std::move(reply));
  }

 private:
  const std::shared_ptr<Control> control_;
  const bool at_once_;
  const bool paid_;
};

}  // namespace paretod
