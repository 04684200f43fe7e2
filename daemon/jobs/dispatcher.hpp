#pragma once
// Gives candidates to whoever evaluates them: one lane per evaluator, jobs taking turns within it.
// An evaluator of this process is given as many as it has slots; from the lane of a leased one,
// workers take what they want and answer by the attempt's id.  Thread-safe.
//
// A transient failure is retried with jittered backoff as often as the job allows; a fault (fatal,
// crash, hang) once, by another worker if there is one: a second makes the trial a failed one,
// "poison", so that a candidate that kills whoever touches it cannot end the search.  A paid
// attempt of which nobody knows how it ended is billed as if all had been charged, and not
// repeated: its trial is "unknown".  Only an evaluator that keeps what it paid for is asked again.

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "daemon/jobs/attempt.hpp"
#include "daemon/jobs/catalog.hpp"
#include "daemon/jobs/ledger.hpp"
#include "evaluators/evaluator.hpp"

namespace paretod {

/// What the dispatcher tells a job; from any thread, no locks held.
class TrialSink {
 public:
  virtual ~TrialSink() = default;

  struct Completion {
    TrialNumber number = 0;
    Outcome outcome;
  };
  /// The final outcomes of dispatched trials, each once.
  virtual void complete(std::vector<Completion> completions) = 0;

  struct Start {
    TrialNumber number = 0;
    std::uint32_t attempt = 1;
    std::string worker;
    Spend hold;
  };
  /// These attempts must be durable before they begin.  `durable` is called once, on any thread:
  /// true when they are, false when they must not begin.
  virtual void start(std::vector<Start> starts, std::function<void(bool)> durable) = 0;

  struct Ended {
    TrialNumber number = 0;
    std::uint32_t attempt = 1;
    AttemptEnd end = AttemptEnd::transient;
    std::string worker;
    std::string reason;
    Spend cost;
  };
  /// Attempts that ended without ending their trials.
  virtual void ended(std::vector<Ended> ended) = 0;

  /// Of trials that are being evaluated.
  virtual void progress(std::vector<EvaluationReply> replies, std::vector<TrialNumber> numbers) = 0;

  /// Nothing runs and nothing can start: a cap leaves no room for another attempt.
  virtual void out_of_budget(Resource resource) = 0;
};

struct WorkItem {
  TrialNumber number = 0;
  Candidate candidate;
  AttemptRecord so_far = {};  ///< as the log tells; an open attempt is gone on with
};

struct LaneStatus {
  std::string evaluator;
  std::size_t slots = 0;
  std::size_t busy = 0;
  std::size_t queued = 0;
  std::uint64_t completed = 0;
  std::uint64_t retried = 0;
};

/// What a worker asks for.
struct LeaseWanted {
  std::string worker;
  std::string evaluator;
  std::string job;  ///< only of this one; empty: of any
  std::size_t count = 1;
  std::chrono::milliseconds patience{0};  ///< to wait if there is nothing
  std::chrono::milliseconds ttl{0};       ///< 0: the usual
};

struct DispatcherOptions {
  /// A leased attempt whose worker is silent for so long is lost; a paid one after ten times as
  /// long, because it will not be repeated.
  std::chrono::milliseconds lease_ttl = std::chrono::seconds(30);
  /// Is given what attempts wrote, where they wrote anything; any thread, no locks held, quick.
  std::function<void(const std::string& job, TrialNumber trial, std::uint32_t attempt,
                     std::string log)>
      keep_log = {};
};

class Dispatcher {
 public:
  explicit Dispatcher(const Catalog& catalog, DispatcherOptions options = {});
  /// Nothing may be in flight any more, or its completion is dropped.
  ~Dispatcher();

  /// What a job needs to say once.
  struct Client {
    std::shared_ptr<const EvaluationContext> context;
    std::string evaluator;
    std::weak_ptr<TrialSink> sink;
    double trial_timeout_s = 0;
    std::uint32_t max_attempts = 3;
    Ledger ledger = {};
  };
  using ClientId = std::uint64_t;
  ClientId add_client(Client client);
  void remove_client(ClientId id);

  /// At most `parallelism` of the client's items run at once.
  void set_parallelism(ClientId id, std::size_t parallelism);
  /// 0 is unlimited.
  void set_caps(ClientId id, const Spend& caps);
  void enqueue(ClientId id, std::vector<WorkItem> items);
  /// Takes back what has not started; its completion will not come.  Returns their numbers.
  std::vector<TrialNumber> withdraw(ClientId id);
  /// Withdraws, and asks the evaluator to cancel what runs.
  void cancel(ClientId id);
  /// The same for one trial: nobody waits for its outcome any more, or what it has measured so far
  /// is enough.  It is not attempted again.
  void cancel_trial(ClientId id, TrialNumber number);

  // --- leased lanes; attempts are named by EvaluationRequest::id() ---
  using Leased = std::function<void(std::vector<EvaluationRequest>)>;
  /// `leased` is called once, on any thread: with at least one attempt, all durable, as soon as
  /// there is one, or with none when patience is over.  The result names the call.
  std::uint64_t lease(LeaseWanted wanted, Leased leased);
  /// Ends the wait of a lease(), with none, if it still waits.
  void give_up(std::uint64_t lease);
  enum class Beat { held, cancelled, gone };
  /// The attempt's worker is alive.  gone: no such attempt is open here.
  Beat beat(const std::string& attempt);
  /// Progress or the end of a leased attempt; false if no such attempt is open.
  bool answer(const std::string& attempt, EvaluationReply reply);
  /// The attempt will not begin; another takes its place.  False if no such attempt is open.
  bool release(const std::string& attempt);
  /// What the open attempt was made from; null if no such attempt is open.
  [[nodiscard]] std::shared_ptr<const EvaluationContext> context_of(
      const std::string& attempt) const;
  [[nodiscard]] std::chrono::milliseconds lease_ttl() const;

  /// No new attempts from now on.
  void stop_dispatching();
  /// True when no evaluator of this process works and every outcome has reached its job.  Leased
  /// attempts go on without the daemon.
  bool wait_idle(double seconds);

  [[nodiscard]] std::vector<LaneStatus> lanes() const;

 private:
  struct State;
  std::shared_ptr<State> state_;
  std::jthread timer_;
};

}  // namespace paretod
