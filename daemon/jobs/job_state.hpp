#pragma once
// The state of a job: a fold over its log and nothing else.  Every view that people see (front,
// history, trial list, progress) is derived from it.  Not thread-safe; the Job that owns it locks.

#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <unordered_map>
#include <vector>

#include "daemon/jobs/event.hpp"
#include "optimizers/core/front.hpp"

namespace paretod {

/// A trial as the log tells it.
struct TrialRecord {
  Candidate candidate;
  std::optional<Outcome> outcome;  ///< empty while asked but untold
  bool injected = false;           ///< the optimizer did not ask for it
  std::int64_t asked_ms = 0;
  std::int64_t told_ms = 0;
};

/// All ok trials of one point at one fidelity, replicates pooled.
struct MeasuredPoint {
  TrialNumber first_trial = 0;
  std::uint32_t replicates = 0;
  std::vector<double> mean;     ///< per objective, the user's sign
  std::vector<double> squares;  ///< sum of squared deviations of the replicate values
  /// Sums of squared standard errors, as replicate_error() takes them; empty for a single one.
  std::vector<double> reported = {};
  bool feasible = true;  ///< no replicate violated a constraint
  /// Standard error of objective i's mean: replicate_error() when there are several, else what the
  /// evaluator gave (negative: unknown).
  [[nodiscard]] double standard_error(std::size_t i, const Outcome& first) const;
};

/// Limits in force from a place in the order of told trials on.
struct LimitChange {
  std::size_t told_before;  ///< told events that precede it in the log
  std::uint64_t trials;
  std::size_t parallelism;
};

class JobState {
 public:
  /// corrupt when the event cannot follow what came before.
  Result<void> apply(EventId id, const Event& event);

  [[nodiscard]] bool created() const { return spec_.has_value(); }
  [[nodiscard]] const JobSpec& spec() const { return *spec_; }
  [[nodiscard]] const std::string& request_digest() const { return request_digest_; }
  [[nodiscard]] JobStatus status() const { return status_; }
  [[nodiscard]] const std::string& status_reason() const { return status_reason_; }
  [[nodiscard]] const Report& report() const { return report_; }
  [[nodiscard]] EventId top() const { return top_; }
  [[nodiscard]] std::int64_t created_ms() const { return created_ms_; }
  [[nodiscard]] std::int64_t updated_ms() const { return updated_ms_; }
  /// Milliseconds spent running (paused time excluded), up to the last event.
  [[nodiscard]] std::int64_t running_ms() const { return running_ms_; }
  [[nodiscard]] const Budget& budget() const { return budget_; }
  [[nodiscard]] std::size_t parallelism() const { return parallelism_; }

  /// Trials 1 to this number came from another job, told before this one began.
  [[nodiscard]] std::uint64_t imported() const { return imported_; }
  /// What the optimizer is given: the job's spec and its imported trials.
  [[nodiscard]] SearchProblem problem() const;
  /// Trial n is trials()[n - 1].
  [[nodiscard]] const std::vector<TrialRecord>& trials() const { return trials_; }
  [[nodiscard]] const std::vector<TrialNumber>& told_order() const { return told_order_; }
  /// Which of measured() each told trial went into, in the order told; no_point unless it was ok.
  [[nodiscard]] const std::vector<std::uint32_t>& told_points() const { return told_points_; }
  static constexpr std::uint32_t no_point = UINT32_MAX;
  [[nodiscard]] const std::vector<LimitChange>& limit_changes() const { return limit_changes_; }
  [[nodiscard]] std::uint64_t count(TrialStatus status) const {
    return counts_[static_cast<std::size_t>(status)];
  }
  /// Of the evaluator, as far as it says; and how many trials were told before it was that.
  [[nodiscard]] const std::string& evaluator_version() const { return evaluator_version_; }
  [[nodiscard]] std::size_t told_before_version() const { return told_before_version_; }
  [[nodiscard]] PauseCause pause_cause() const { return pause_cause_; }

  /// Trials that the optimizer did not ask for.
  [[nodiscard]] std::uint64_t injected() const { return injected_; }
  /// Asked for by this job's optimizer: neither imported nor injected.
  [[nodiscard]] bool is_own(TrialNumber number) const;
  [[nodiscard]] std::uint64_t injected_told() const { return injected_told_; }
  /// Those of them that are still to be told; cancelling a job drops them.
  [[nodiscard]] const std::set<TrialNumber>& open_injections() const { return open_injections_; }
  /// A request that came with an Idempotency-Key.
  struct Injection {
    TrialNumber first = 0;
    std::size_t count = 0;
    std::string request_digest;
  };
  /// Null if no request came with that key.
  [[nodiscard]] const Injection* injection(const std::string& key) const;
  /// The trial that measured just this (point, fidelity, replicate), or injected and open will.
  [[nodiscard]] std::optional<TrialNumber> measured_as(const Candidate& candidate) const;
  /// Of the `finished` event; zero as long as there is none.
  [[nodiscard]] EventId finished_at() const { return finished_at_; }
  /// Whether the event may come now; at the end of a search only what injected trials need may.
  [[nodiscard]] bool may_follow(const EventBody& body) const;

  /// Of trials that are not told; absent where the log tells of none.
  [[nodiscard]] const std::unordered_map<TrialNumber, AttemptRecord>& attempts() const {
    return attempts_;
  }
  /// Used up by all attempts that have ended.
  [[nodiscard]] const Spend& spent() const { return spent_; }
  /// Set aside for open attempts.
  [[nodiscard]] Spend held() const;
  /// The highest share of the resource's present cap that was announced, in per cent; 0, 80, 100.
  [[nodiscard]] int announced(Resource resource) const {
    return announced_[static_cast<std::size_t>(resource)];
  }
  /// Of the log's first owner: distinguishes this job from any other that had its name.
  [[nodiscard]] const std::string& nonce() const { return nonce_; }

  /// The measured front; member ids index measured().  Brings it up to date if a re-measured
  /// point made that necessary.  Only points measured at the highest fidelity that the search has
  /// come to are on it: what fewer images or examples say is more uncertain, and the luckiest of
  /// many such points would crowd out what was measured well.  Injected and imported trials do not
  /// raise that fidelity.
  const ParetoArchive& front();
  [[nodiscard]] const std::vector<MeasuredPoint>& measured() const { return measured_; }
  /// Changes whenever the front may have changed.
  [[nodiscard]] std::uint64_t front_version() const { return front_version_; }

 private:
  Result<void> apply_asked(const AskedEvent& asked, std::int64_t time_ms);
  Result<void> apply_injected(const InjectedEvent& injected, std::int64_t time_ms);
  Result<void> apply_told(const ToldEvent& told, std::int64_t time_ms);
  Result<void> apply_started(const StartedEvent& started);
  Result<void> apply_ended(const EndedEvent& ended);
  void apply_limits(const ExtendedEvent& limits);
  [[nodiscard]] bool is_told(TrialNumber number) const;
  /// Index of the candidate's point; no_point if it has not been measured.
  [[nodiscard]] std::uint32_t point_of(const Candidate& candidate) const;
  /// The index of the point.
  std::uint32_t measure(TrialNumber number, const Candidate& candidate, const Outcome& outcome);
  [[nodiscard]] std::vector<double> minimised(const std::vector<double>& values) const;
  bool insert_in_front(std::size_t measured);

  std::optional<JobSpec> spec_;
  std::string request_digest_;
  JobStatus status_ = JobStatus::queued;
  std::string status_reason_;
  Report report_;
  EventId top_;
  std::int64_t created_ms_ = 0;
  std::int64_t updated_ms_ = 0;
  std::int64_t running_ms_ = 0;
  Budget budget_;
  std::size_t parallelism_ = 1;
  std::uint64_t imported_ = 0;
  std::uint64_t injected_ = 0;
  std::uint64_t injected_told_ = 0;
  std::set<TrialNumber> open_injections_;
  std::map<std::string, Injection> injections_;  ///< by key
  EventId finished_at_;
  std::vector<TrialRecord> trials_;
  std::vector<TrialNumber> told_order_;
  std::vector<std::uint32_t> told_points_;
  std::vector<LimitChange> limit_changes_;
  std::uint64_t counts_[4] = {};
  std::string nonce_;
  std::string evaluator_version_;
  std::size_t told_before_version_ = 0;
  PauseCause pause_cause_ = PauseCause::request;
  std::unordered_map<TrialNumber, AttemptRecord> attempts_;
  Spend spent_;
  std::array<int, all_resources.size()> announced_{};
  std::vector<MeasuredPoint> measured_;
  std::unordered_multimap<std::uint64_t, std::uint32_t> measured_by_hash_;
  ParetoArchive archive_;
  bool archive_stale_ = false;
  std::uint64_t front_version_ = 0;
  std::uint64_t front_fidelity_ = 0;
};

}  // namespace paretod
