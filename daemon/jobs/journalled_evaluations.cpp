#include "daemon/jobs/journalled_evaluations.hpp"

#include <algorithm>

#include "daemon/jobs/job.hpp"

namespace paretod {

JournalledEvaluations::JournalledEvaluations(Job& job)
    : job_(job),
      search_(job.with_state([](JobState& state) { return RecordedSearch(state); })),
      submitted_(job.with_state([](JobState& state) { return state.imported(); })),
      delivered_(submitted_),
      trials_(search_.initial_trials()),
      parallelism_(search_.initial_parallelism()) {
  job.with_state([this](JobState& state) {
    const auto& told = state.told_order();
    // Imported trials may be another evaluator's; so is what an earlier version of this one found.
    for (std::size_t i = std::max<std::size_t>(state.imported(), state.told_before_version());
         i < told.size(); ++i) {
      const TrialRecord& record = state.trials()[told[i] - 1];
      if (record.outcome->same_as > 0) continue;
      firsts_.try_emplace(key_of(record.candidate), told[i]);
    }
  });
}

JournalledEvaluations::CandidateKey JournalledEvaluations::key_of(const Candidate& candidate) {
  const std::uint64_t seed = mix64(candidate.fidelity, candidate.replicate);
  return {hash_of(candidate.point, seed), hash_of(candidate.point, mix64(seed, 1))};
}

TrialNumber JournalledEvaluations::submit(const Candidate& candidate) {
  if (remaining() == 0) throw BudgetSpent{};
  const std::lock_guard lock(job_.mutex_);
  if (job_.stop_requested_ || job_.over()) throw SearchStopped{};
  ++submitted_;
  last_ = search_.take_asked(candidate);
  if (last_ == 0) {
    // Numbered and written at once: whoever injects trials continues from here.  An attempt that
    // may cost money has its start in the log, which is behind this.
    last_ = job_.asked_ + 1;
    job_.append({0, AskedEvent{last_, candidate}}, /*lazily=*/true);
    pending_.push_back({last_, candidate});
  } else if (!job_.state_.trials()[last_ - 1].outcome && !job_.in_flight_.contains(last_)) {
    pending_.push_back({last_, candidate, job_.attempts_at(last_)});
  }
  return last_;
}

void JournalledEvaluations::hand_over() {
  if (pending_.empty()) return;
  std::vector<WorkItem> fresh;
  {
    const std::lock_guard lock(job_.mutex_);
    if (job_.stop_requested_) throw SearchStopped{};
    for (WorkItem& item : pending_) {
      const auto [first, added] = firsts_.try_emplace(key_of(item.candidate), item.number);
      if (!added && first->second != item.number) {
        if (job_.reuse(first->second, item)) continue;
        first->second = item.number;
      }
      job_.in_flight_.insert(item.number);
      fresh.push_back(std::move(item));
    }
  }
  pending_.clear();
  if (!fresh.empty()) job_.dispatcher_.enqueue(job_.client_, std::move(fresh));
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
  check_submitted(delivery.trial.number, last_);
  ++delivered_;
  trials_ = delivery.trials;
  if (delivery.parallelism != parallelism_) {
    parallelism_ = delivery.parallelism;
    job_.dispatcher_.set_parallelism(job_.client_, parallelism_);
  }
  for (Trial& trial : delivery.injected) {
    firsts_.try_emplace(key_of(trial.candidate), trial.number);
    injected_.push_back(std::move(trial));
  }
  return std::move(delivery.trial);
}

}  // namespace paretod
