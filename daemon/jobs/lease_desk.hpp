#pragma once
// Where workers on other machines, and people in notebooks, get attempts and bring results: names
// leases, remembers what was answered to whom, and finds the job that a late result belongs to.
// The dispatcher has the attempts, the jobs have the log.  Thread-safe.
//
// A lease is named "job:trial:attempt:nonce".  The nonce is the job's own, so that a result which
// waited in a spool cannot land in another job of the same name.

#include <chrono>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "daemon/jobs/dispatcher.hpp"
#include "daemon/jobs/job.hpp"
#include "evaluators/evaluator.hpp"

namespace paretod {

struct Lease {
  std::string name;
  EvaluationRequest request;
};

/// What became of a result.
enum class ResultStatus {
  accepted,   ///< durable: the worker may forget it
  duplicate,  ///< the trial has an outcome already; nothing changed
  unknown,    ///< no such attempt, or its job is over
};
std::string_view name_of(ResultStatus status);

class LeaseDesk {
 public:
  using FindJob = std::function<std::shared_ptr<Job>(const std::string& id)>;

  /// `dispatcher` outlives this.
  LeaseDesk(Dispatcher& dispatcher, FindJob find_job);

  using Leases = std::shared_ptr<const std::vector<Lease>>;
  /// Calls `then` once, on any thread, with what there is as soon as there is something, or with
  /// nothing when patience is over.  A worker that repeats its last `request` gets the same
  /// answer; a new one ends the wait of the one before.
  void lease(LeaseWanted wanted, const std::string& request, std::function<void(Leases)> then);

  /// held: also when the daemon has just restarted and the job does not run yet.
  Dispatcher::Beat beat(const std::string& lease);
  /// Progress of an attempt; ignored when it is not open.
  void progress(const std::string& lease, EvaluationReply reply);
  /// False if there was nothing to release.
  bool release(const std::string& lease);

  /// Brings the ends of attempts.  `then` is called once, on any thread, when everything accepted
  /// is durable; nothing when the log cannot be written, so that nobody forgets a result.
  void finish(std::vector<std::pair<std::string, EvaluationReply>> replies,
              std::function<void(std::optional<std::vector<ResultStatus>>)> then);

  /// The job of a lease; null if it is not one of this daemon's.
  [[nodiscard]] std::shared_ptr<Job> job_of(const std::string& lease) const;
  [[nodiscard]] std::chrono::milliseconds ttl() const { return dispatcher_.lease_ttl(); }

 private:
  struct Name {
    std::shared_ptr<Job> job;
    TrialNumber trial = 0;
    std::uint32_t attempt = 0;
    std::string attempt_id;  ///< EvaluationRequest::id()
  };
  [[nodiscard]] std::optional<Name> parse(const std::string& lease) const;
  ResultStatus finish_one(const Name& name, EvaluationReply reply);

  /// The last request of a worker.
  struct Asked {
    std::string request;
    std::uint64_t wait = 0;  ///< of the dispatcher
    Leases answer;           ///< null while it waits
    std::vector<std::function<void(Leases)>> waiting;
  };

  Dispatcher& dispatcher_;
  const FindJob find_job_;
  std::mutex mutex_;
  std::unordered_map<std::string, std::shared_ptr<Asked>> asked_;  // by worker
  std::deque<std::string> workers_;                                // in order of first appearance
};

}  // namespace paretod
