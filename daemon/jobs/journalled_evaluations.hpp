#pragma once
// The evaluations that a running job's optimizer sees: recorded outcomes while it replays, real
// ones afterwards (DESIGN 1.3, 4).  Lives on the job's thread for one run.

#include <cstdint>
#include <deque>
#include <unordered_map>
#include <utility>
#include <vector>

#include "daemon/jobs/dispatcher.hpp"
#include "daemon/jobs/recorded_search.hpp"
#include "optimizers/core/evaluations.hpp"

namespace paretod {

class Job;

class JournalledEvaluations final : public Evaluations {
 public:
  /// Everything appended so far is committed.
  explicit JournalledEvaluations(Job& job);

  TrialNumber submit(const Candidate& candidate) override;
  Trial next() override;
  std::vector<Trial> injected() override { return std::exchange(injected_, {}); }
  [[nodiscard]] std::size_t in_flight() const override { return submitted_ - delivered_; }
  [[nodiscard]] std::uint64_t remaining() const override {
    return trials_ > submitted_ ? trials_ - submitted_ : 0;
  }
  [[nodiscard]] std::size_t parallelism() const override { return parallelism_; }

 private:
  /// Of what is evaluated, equal for the same candidate whatever its tag: two hashes of 64 bits.
  struct CandidateKey {
    std::uint64_t first = 0;
    std::uint64_t second = 0;
    friend bool operator==(const CandidateKey&, const CandidateKey&) = default;
  };
  struct KeyHash {
    std::size_t operator()(const CandidateKey& key) const { return key.first; }
  };
  static CandidateKey key_of(const Candidate& candidate);

  void hand_over();
  void fetch();

  Job& job_;
  RecordedSearch search_;    ///< read under the job's lock
  std::uint64_t submitted_;  ///< the imported trials count as submitted and delivered
  std::uint64_t delivered_;
  TrialNumber last_ = 0;      ///< the latest number given
  std::uint64_t trials_ = 0;  ///< budget in force at this place of the search
  std::size_t parallelism_ = 1;
  /// Which trial the outcome of a candidate is to be had from.
  std::unordered_map<CandidateKey, TrialNumber, KeyHash> firsts_;
  std::vector<WorkItem> pending_;                 ///< submitted, not yet handed to the dispatcher
  std::deque<RecordedSearch::Delivery> fetched_;  ///< told, not yet delivered
  std::vector<Trial> injected_;                   ///< delivered, not yet taken
};

}  // namespace paretod
