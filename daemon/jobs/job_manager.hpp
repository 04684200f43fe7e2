#pragma once
// All jobs of the daemon: creation, lookup, verbs, recovery and shutdown.  Thread-safe.  The REST
// layer talks to this and to Job only.

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "daemon/jobs/catalog.hpp"
#include "daemon/jobs/dispatcher.hpp"
#include "daemon/jobs/job.hpp"
#include "daemon/jobs/job_spec.hpp"
#include "daemon/jobs/lease_desk.hpp"
#include "daemon/store/group_commit.hpp"
#include "daemon/store/log_backend.hpp"

namespace paretod {

struct ManagerOptions {
  std::size_t max_active_jobs = 64;  ///< running at once; more wait as `queued`
  std::size_t max_stored_jobs = 10'000;
  DispatcherOptions dispatcher = {};
  std::string build = {};  ///< build fingerprint, written to every owner event
  /// Told of what happens to jobs as a whole ("created", "recovered", "paused", "finished", ...)
  /// with a sentence; for the log.  Called on any thread; must be quick and must not call back.
  std::function<void(const std::string& job, std::string_view what, const std::string& detail)>
      on_lifecycle = {};
};

class JobManager {
 public:
  /// The backend and catalog outlive the manager.
  JobManager(LogBackend& backend, const Catalog& catalog, ManagerOptions options);
  /// As drain(0).
  ~JobManager();

  /// Folds every log, takes over the unfinished ones and starts their replays.  Call once, before
  /// anything else.  A log that cannot be read is left alone and listed by unreadable().
  Result<void> recover();
  /// Jobs whose logs could not be read, and why; constant after recover().
  [[nodiscard]] const std::vector<std::pair<std::string, Error>>& unreadable() const {
    return unreadable_;
  }

  /// Creates and starts a job.  With an idempotency key, a repeat of the same request returns the
  /// same job (`created` false) and another body under the same key is a conflict.
  struct Created {
    std::shared_ptr<Job> job;
    bool created = true;
  };
  Result<Created> create(JobSpec spec, const std::string& idempotency_key,
                         const std::string& request_digest);
  /// Job::inject(), with the log of an ended job opened again where that is needed.
  Result<JobState::Injection> inject(const std::shared_ptr<Job>& job, InjectedEvent request);
  /// Null when there is no such job.
  [[nodiscard]] std::shared_ptr<Job> find(const std::string& id) const;
  /// By creation time, newest first.
  [[nodiscard]] std::vector<std::shared_ptr<Job>> list() const;

  /// Stops dispatching, waits up to `seconds` for evaluations in flight to be told, then unwinds
  /// every run.  Idempotent.
  void drain(double seconds);

  [[nodiscard]] const Catalog& catalog() const { return catalog_; }
  [[nodiscard]] LogBackend& backend() { return backend_; }
  /// Where leased attempts are given out and come back.
  [[nodiscard]] LeaseDesk& lease_desk() { return lease_desk_; }
  /// Per evaluator: slots, busy, queued.
  [[nodiscard]] std::vector<LaneStatus> lanes() const { return dispatcher_.lanes(); }

 private:
  [[nodiscard]] Event owner_event() const;
  Result<void> fold(const std::string& id, EventId after, JobState& state);
  /// Null for a log that was never finished creating.
  Result<std::shared_ptr<Job>> load(const std::string& id);
  /// The trials that the spec asks to import; none if it asks for none.  With them the optimizer
  /// can run.
  [[nodiscard]] Result<std::vector<ImportedTrial>> look_up_import(const JobSpec& spec) const;
  Result<void> begin_log(const std::string& id, const Event& created);
  Result<Created> repeated(const std::string& id, const std::string& request_digest);
  /// Begins a new epoch in the log of an ended job.
  Result<void> reopen(const std::shared_ptr<Job>& job);
  /// Attaches the writer and the follower that reports the job's life.
  void adopt(const std::shared_ptr<Job>& job, EventId top);
  void report(const std::string& job, std::string_view what, const std::string& detail) const;
  void start_queued();
  void wake_starter();

  LogBackend& backend_;
  const Catalog& catalog_;
  const ManagerOptions options_;
  GroupCommit commits_;
  Dispatcher dispatcher_;
  LeaseDesk lease_desk_;
  std::mutex creating_;  // one log at a time; taken before mutex_
  mutable std::mutex mutex_;
  std::map<std::string, std::shared_ptr<Job>> jobs_;
  std::vector<std::pair<std::string, Error>> unreadable_;
  std::set<std::string> troubled_;  // whose trouble has been reported; the starter's own
  bool draining_ = false;
  bool starter_due_ = false;
  std::condition_variable_any starter_wake_;
  /// Starts queued jobs: a thread of its own, because starting takes a job's verb lock and the
  /// ones who notice a free place (a job's ending run among them) may be waited for under it.
  std::jthread starter_;
};

}  // namespace paretod
