#pragma once
// A worker: leases attempts from a daemon, runs them on an evaluator of its own, and reports what
// came of them.
//
// Its threads: one leases (a long poll, so that waiting costs nothing), one sends heartbeats
// whatever the others do, one reports from the spool, and the one in run() spools results as they
// come.  The evaluator has its own.  While the daemon cannot be reached, attempts go on and their
// results wait in the spool; every request is tried again, with growing pauses.

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "daemon/worker/held_leases.hpp"
#include "daemon/worker/lease_api.hpp"
#include "daemon/worker/spool.hpp"
#include "evaluators/evaluator.hpp"

namespace paretod {

class RequestReader;

struct WorkerOptions {
  std::string name;       ///< tells it from all other workers of the daemon
  std::string evaluator;  ///< the daemon's name for what it evaluates
  std::string job = {};   ///< leases of this job only; empty: of any
  std::size_t slots = 1;  ///< attempts at once; at most the evaluator's
  double grace_s = 30;    ///< how long attempts may go on after stop(), and reports fail
  std::optional<double> idle_exit_s = {};  ///< ends when it had nothing to do for so long

  double ttl_s = 30;            ///< asked of the daemon, which decides
  double wait_s = 25;           ///< of one long poll
  double longest_pause_s = 10;  ///< between tries
};

class Worker {
 public:
  /// A connection of the caller's making, with the given timeout and `cancelled`.
  using Connect = std::function<cli::DaemonApi(HttpClientOptions)>;
  /// A line for people; from any thread.
  using Say = std::function<void(const std::string&)>;

  /// The spool has to outlive it.
  Worker(WorkerOptions options, std::unique_ptr<Evaluator> evaluator, Spool& spool, Connect connect,
         Say say);
  ~Worker();
  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;

  /// Works until stop(), until it was idle for too long, or until the daemon refuses it for good
  /// (the error).  Call once.
  Result<void> run();

  /// Any thread.  Leases no more; what runs may end, and be reported, within the grace period.
  /// The rest is given back (attempts that cost money are reported as unknown), or waits in the
  /// spool.
  void stop();
  /// Likewise without a grace period.
  void abandon();

 private:
  using Clock = std::chrono::steady_clock;
  enum class Stage { working, draining, over };

  LeaseApi connect(double timeout_s, std::function<bool()> cancelled) const;
  void drain(double grace_s, bool abandoned);

  void supervise();
  /// When supervise() has to look again though nothing happened.
  [[nodiscard]] std::optional<Clock::time_point> next_look() const;
  [[nodiscard]] bool drained() const;
  void keep(const std::vector<EvaluationReply>& replies);
  void give_back();

  void lease_loop();
  /// Ends the long poll once the worker stops.
  void end_poll();
  static void release_all(LeaseApi& api, const Result<LeaseGrant>& grant);
  std::size_t wait_for_free_slots();
  Result<LeaseGrant> lease(LeaseApi& api, const LeaseRequest& request);
  /// A connection that breaks while a job is asked for costs no attempt.
  Result<EvaluationRequest> read(RequestReader& reader, const GrantedLease& lease,
                                 Clock::time_point until);
  void begin(RequestReader& reader, const LeaseGrant& grant);
  void on_replies(std::vector<EvaluationReply> replies);

  void beat_loop();
  bool beat(LeaseApi& api);

  void report_loop();
  /// False: try again later.
  bool report(LeaseApi& api, std::size_t& most);

  /// Sleeps; false, at once, when the worker is no longer in `stage`.
  bool pause(double seconds, Stage stage);
  /// Tells people once that the daemon is away, and once that it is back.
  void note_answer(const Error* error);

  const WorkerOptions options_;
  std::unique_ptr<Evaluator> evaluator_;
  Spool& spool_;
  const Connect connect_;
  const Say say_;
  HeldLeases held_;

  std::mutex mutex_;
  std::condition_variable changed_;
  std::atomic<Stage> stage_ = Stage::working;  ///< changes under mutex_
  bool abandoned_ = false;
  bool leasing_ = true;
  bool gave_back_ = false;
  std::atomic<bool> cut_poll_ = false;  ///< it did not end by itself
  std::atomic<bool> away_ = false;
  Clock::time_point grace_end_;
  Clock::time_point idle_since_;
  Clock::time_point said_;
  double ttl_s_;
  std::uint64_t ended_ = 0;  ///< attempts
  std::vector<EvaluationReply> finished_;
  std::optional<Error> refusal_;
};

}  // namespace paretod
