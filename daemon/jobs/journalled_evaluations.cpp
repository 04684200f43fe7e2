#include "daemon/jobs/journalled_evaluations.hpp"

#include "daemon/jobs/job.hpp"

namespace paretod {

JournalledEvaluations::JournalledEvaluations(Job& job)
    : job_(job),
      search_(job.with_state([](JobState& state) { return RecordedSearch(state); })),
      recorded_(job.with_state([](JobState& state) { return state.trials().size(); })),
      submitted_(job.with_state([](JobState& state) { return state.imported(); })),
      delivered_(submitted_),
      trials_(search_.initial_trials()),
      parallelism_(search_.initial_parallelism()) {}

TrialNumber JournalledEvaluations::submit(const Candidate& candidate) {
  if (remaining() == 0) throw BudgetSpent{};
  const TrialNumber number = ++submitted_;
  if (number <= recorded_) {
    replay(number, candidate);
  } else {
    pending_.push_back({number, candidate});
  }
  return number;
}

void JournalledEvaluations::replay(TrialNumber number, const Candidate& candidate) {
  const std::lock_guard lock(job_.mutex_);
  if (job_.stop_requested_) throw SearchStopped{};
  search_.check_asked(number, candidate);
  if (!job_.state_.trials()[number - 1].outcome && !job_.in_flight_.contains(number)) {
    const auto attempts = job_.state_.attempts().find(number);
    pending_.push_back(
        {number, candidate,
         attempts == job_.state_.attempts().end() ? AttemptRecord{} : attempts->second});
  }
}

void JournalledEvaluations::hand_over() {
  if (pending_.empty()) return;
  {
    const std::lock_guard lock(job_.mutex_);
    if (job_.stop_requested_) throw SearchStopped{};
    for (const WorkItem& item : pending_) {
      if (item.number > recorded_) {
        // An attempt that may cost money has its start in the log, which is behind this.
        job_.append({0, AskedEvent{item.number, item.candidate}}, /*lazily=*/true);
      }
      job_.in_flight_.insert(item.number);
    }
  }
  job_.dispatcher_.enqueue(job_.client_, std::move(pending_));
  pending_.clear();
}

void JournalledEvaluations::fetch() {
  std::unique_lock lock(job_.mutex_);
  job_.changed_.wait(lock, [&] { return job_.stop_requested_ || search_.has_next(); });
  if (job_.stop_requested_) throw SearchStopped{};
  while (search_.has_next() && fetched_.size() < 1024) fetched_.push_back(search_.next());
}

Trial JournalledEvaluations::next() {
  hand_over();
  if (fetched_.empty()) fetch();
  RecordedSearch::Delivery delivery = std::move(fetched_.front());
  fetched_.pop_front();
  check_submitted(delivery.trial.number, submitted_);
  ++delivered_;
  trials_ = delivery.trials;
  if (delivery.parallelism != parallelism_) {
    parallelism_ = delivery.parallelism;
    job_.dispatcher_.set_parallelism(job_.client_, parallelism_);
  }
  return std::move(delivery.trial);
}

}  // namespace paretod
