#pragma once
// One job: its state (a fold of the log), its place in the log, and, while it runs, the thread of
// its optimizer.  Thread-safe.
//
// A run is a replay that reaches the end of the log and goes on (DESIGN 1.3).  Pausing and
// shutting down simply unwind the run: nothing needs saving, the next run replays.

#include <array>
#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

#include "daemon/jobs/catalog.hpp"
#include "daemon/jobs/dispatcher.hpp"
#include "daemon/jobs/event.hpp"
#include "daemon/jobs/job_state.hpp"
#include "daemon/store/group_commit.hpp"

namespace paretod {

class JournalledEvaluations;

/// A committed event, for live followers.
using EventFollower = std::function<void(EventId, const Event&)>;

class Job : public TrialSink, public std::enable_shared_from_this<Job> {
 public:
  /// `state` is folded up to the log's end.
  Job(std::string id, JobState state, const Catalog& catalog, Dispatcher& dispatcher);
  ~Job() override;

  [[nodiscard]] const std::string& id() const { return id_; }

  /// Runs `read` on the state under the job's lock.  Keep it short.
  template <class F>
  auto with_state(F&& read) {
    const std::lock_guard lock(mutex_);
    return read(state_);
  }
  /// As people see it: the folded status, with `queued` while it waits for its turn.
  [[nodiscard]] JobStatus status() const;
  /// Why the job cannot go on although it is not finished ("evaluator ... is not configured");
  /// empty when all is well.
  [[nodiscard]] std::string trouble() const;
  [[nodiscard]] std::size_t in_flight() const;

  /// Verbs.  Each waits until its event is durable, and not for the optimizer, which unwinds on its
  /// own thread when it next asks for something; repeating one is harmless.  conflict when the
  /// job's status does not allow it.
  Result<void> pause(const std::string& reason);
  Result<void> resume();
  Result<void> cancel();
  Result<void> extend(const ExtendedEvent& limits);
  /// Has trials measured that the optimizer does not ask for, in a running job or in one that has
  /// ended; they count in no budget of trials, but in every other.  A repeat of a request with the
  /// same key changes nothing.  `request.first` is ignored.  Needs an open log (needs_log()).
  Result<JobState::Injection> inject(InjectedEvent request);

  /// Blocks until the status is final or the predicate on it holds; for tests.
  void wait(const std::function<bool(JobStatus)>& predicate);

  /// Follows committed events from now on; returns a token for unfollow().  Called on the writer
  /// thread under the job's lock: must be quick and must not call back.
  std::uint64_t follow(EventFollower follower);
  void unfollow(std::uint64_t token);

  // --- for the manager ---
  /// Gives the job its writer; before start().
  void attach(std::shared_ptr<GroupCommit::Log> log, std::function<void()> on_settled);
  CommitListener commit_listener();
  /// Running by its log, but without a thread: it waits for start().
  [[nodiscard]] bool wants_to_run() const;
  [[nodiscard]] bool run_active() const;
  /// Starts the run if the job wants to run.
  void start();
  /// An ended job whose log is closed: inject() needs a writer.
  [[nodiscard]] bool needs_log() const;
  /// Lets an ended job measure injected trials that a crash left open.
  void resume_injections();
  /// Unwinds the run, waits for its thread and leaves the dispatcher.  Must precede destruction.
  void retire();

  // --- TrialSink ---
  void complete(std::vector<Completion> completions) override;
  void start(std::vector<Start> starts, std::function<void(bool)> durable) override;
  void ended(std::vector<Ended> ended) override;
  void progress(std::vector<EvaluationReply> replies, std::vector<TrialNumber> numbers) override;
  void out_of_budget(Resource resource) override;

  // --- for those who answer to leased attempts ---
  /// The result of an attempt that is no longer open.  It counts if it is the trial's first.
  enum class Late { accepted, duplicate, unknown };
  Late complete_late(TrialNumber number, std::uint32_t attempt, Outcome outcome);
  [[nodiscard]] bool is_told(TrialNumber number) const;
  /// What the evaluator has said so far of a trial that is being evaluated.
  struct Progress {
    double done = 0;  ///< the share, 0 to 1
    Outcome partial;  ///< as EvaluationReply::outcome of progress
  };
  [[nodiscard]] std::optional<Progress> progress_of(TrialNumber number) const;
  /// Whether the log has the attempt open, though nobody may work on it at present.
  [[nodiscard]] bool has_open(TrialNumber number, std::uint32_t attempt) const;
  /// Calls `then`, on any thread, once all outcomes so far are durable: true; or can never be:
  /// false.
  void when_durable(std::function<void(bool)> then);
  /// What evaluators are told of this job.
  [[nodiscard]] std::shared_ptr<const EvaluationContext> context() const { return context_; }

 private:
  friend class JournalledEvaluations;
  void start_run();  // verbs_ held
  void stop_run();   // verbs_ held
  void run();
  void append(Event event, bool lazily = false);   // mutex_ held
  void append_told(Completion done, bool lazily);  // mutex_ held
  /// The search has ended, or its end is on its way into the log.  mutex_ held.
  [[nodiscard]] bool over() const { return ending_ || is_final(state_.status()); }
  /// Whether its outcome may be told, if it has none: of any trial, or once the search is over of
  /// injected ones.  mutex_ held.
  [[nodiscard]] bool is_wanted(TrialNumber number) const;
  /// Makes the job a client of the dispatcher; conflict when it cannot be.  mutex_ held.
  Result<void> join_dispatcher();
  /// Injected trials that wait for the dispatcher, which must get them.  mutex_ held.
  std::vector<WorkItem> take_injections();
  [[nodiscard]] AttemptRecord attempts_at(TrialNumber number) const;  // mutex_ held
  /// Ends those injected trials of an ended job that no budget has room for.
  void refuse_injections(Resource resource);
  /// The trial takes the outcome of `first`, the same candidate's, now or when it comes; false if
  /// there is none to come.  mutex_ held.
  bool reuse(TrialNumber first, WorkItem item);
  /// The first of those that waited for a trial which failed; the others wait for it.
  WorkItem lead(TrialNumber failed, std::vector<WorkItem> followers);        // mutex_ held
  void append_same(TrialNumber number, TrialNumber first, Outcome outcome);  // mutex_ held
  [[nodiscard]] bool takes_outcome_of(TrialNumber number) const;             // mutex_ held
  void account(const Spend& cost);                                           // mutex_ held
  void append_pause(PauseCause cause, std::string reason);                   // mutex_ held
  void enforce_wall_budget();                                                // mutex_ held
  /// When more of the last trials failed than the job allows.  mutex_ held.
  void pause_if_failing();
  Result<void> append_and_wait(std::unique_lock<std::mutex>& lock, EventBody body);
  void on_commit(const Result<EventId>& last, std::size_t events);

  const std::string id_;
  const Catalog& catalog_;
  Dispatcher& dispatcher_;
  std::function<void()> on_settled_;

  std::mutex verbs_;  // one verb at a time; guards thread_; taken before mutex_
  std::thread thread_;

  mutable std::mutex mutex_;
  std::condition_variable changed_;
  JobState state_;
  std::shared_ptr<GroupCommit::Log> log_;
  std::deque<Event> uncommitted_;
  std::uint64_t appended_ = 0;        // events handed to the log
  std::uint64_t urgent_ = 0;          // of those, up to the last that does not wait for company
  std::uint64_t committed_ = 0;       // of those, durable and applied
  TrialNumber asked_ = 0;             // highest number handed to the log
  std::uint64_t injected_ = 0;        // of those, not the optimizer's
  bool ending_ = false;               // the finished event is on its way
  bool cancelling_ = false;           // and says that the job is cancelled
  bool pausing_ = false;              // a paused event of the job's own is on its way
  std::deque<bool> recent_failures_;  // of this run's last outcomes, oldest first
  std::string trouble_;               // ownership lost, corrupt log, no evaluator
  /// Dispatched and not yet durably told.
  std::unordered_set<TrialNumber> in_flight_;
  /// Trials that wait for the outcome of the same candidate's first.
  std::unordered_map<TrialNumber, std::vector<WorkItem>> followers_of_;
  /// Which of them took the place of a first that failed.
  std::unordered_map<TrialNumber, TrialNumber> first_instead_of_;
  std::unordered_map<TrialNumber, Progress> progress_;
  /// Stopped while they were evaluated, with what they had measured.
  std::unordered_map<TrialNumber, Progress> stopped_;
  std::unordered_set<TrialNumber> telling_;  ///< outcomes on their way into the log
  Spend spent_;                              ///< with what is on its way into the log
  std::array<int, all_resources.size()> announced_{};
  /// Called when so many events are committed; in that order.
  std::deque<std::pair<std::uint64_t, std::function<void(bool)>>> when_committed_;
  const std::shared_ptr<const EvaluationContext> context_;
  double wall_enforced_at_ = 0;  // the wall budget that has already been enforced
  bool has_client_ = false;
  Dispatcher::ClientId client_ = 0;
  bool started_ = false;
  bool stop_requested_ = false;
  bool run_active_ = false;
  std::uint64_t next_follower_ = 1;
  std::vector<std::pair<std::uint64_t, EventFollower>> event_followers_;
};

}  // namespace paretod
