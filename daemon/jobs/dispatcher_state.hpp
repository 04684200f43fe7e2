#pragma once
// The dispatcher's inside: queues, attempts that run, alarms.  For dispatcher.cpp (lanes of this
// process) and leased_lanes.cpp (lanes that workers take from).

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <random>
#include <stop_token>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "daemon/jobs/dispatcher.hpp"

namespace paretod {

struct Dispatcher::State : std::enable_shared_from_this<State> {
  using Clock = std::chrono::steady_clock;

  /// A lease() that found nothing yet.
  struct Waiter {
    std::uint64_t id = 0;
    LeaseWanted wanted;
    Leased leased;
  };
  struct Lane {
    const Catalog::NamedEvaluator* evaluator = nullptr;
    std::size_t busy = 0;
    std::uint64_t completed = 0;
    std::uint64_t retried = 0;
    std::deque<ClientId> turns;  ///< clients that may have something to run, in turn order
    std::deque<Waiter> waiters;  ///< of a leased lane
    std::size_t rotation = 0;    ///< whose turn it is among the clients of a leased lane

    [[nodiscard]] const EvaluatorDescription& description() const { return evaluator->description; }
    [[nodiscard]] bool leased() const { return description().leased; }
    /// Attempts are in the log before they begin.
    [[nodiscard]] bool starts_durably() const { return leased() || description().paid; }
  };
  struct Item {
    TrialNumber number = 0;
    Candidate candidate;
    AttemptRecord record;  ///< `started` counts attempts here, in the log or not
    /// Until then, another one than record.failed_worker should have it.
    Clock::time_point avoid_until = {};
  };
  struct ClientState {
    Client client;
    Lane* lane = nullptr;
    std::size_t parallelism = 1;
    std::size_t running = 0;
    bool in_turns = false;
    bool removed = false;
    bool out_of_budget = false;  ///< and its job has been told
    std::deque<Item> queue;
  };
  struct Running {
    ClientId client = 0;
    Lane* lane = nullptr;
    Item item;
    std::shared_ptr<const EvaluationContext> context;
    Clock::time_point since = {};
    bool starting = false;  ///< on its way into the log
    bool cancelled = false;
    Clock::duration ttl = {};       ///< leased
    Clock::time_point expiry = {};  ///< leased
  };
  struct Delayed {
    ClientId client = 0;
    Item item;
  };
  /// Who may take.
  struct Taker {
    std::size_t count = 0;
    std::string worker = {};
    std::string job = {};
    Clock::duration ttl = {};
  };
  using Requests = std::vector<EvaluationRequest>;

  mutable std::mutex mutex;
  std::condition_variable changed;  // idle, or an alarm was set, or stopping
  DispatcherOptions options;
  std::map<std::string, std::unique_ptr<Lane>, std::less<>> lanes;
  std::map<ClientId, ClientState> clients;
  std::unordered_map<std::uint64_t, Running> running;     // by ticket
  std::unordered_map<std::string, std::uint64_t> leased;  // ticket by EvaluationRequest::id()
  std::map<std::uint64_t, Delayed> delayed;
  std::multimap<Clock::time_point, std::function<void()>> alarms;
  std::minstd_rand jitter{std::random_device{}()};
  std::size_t working = 0;     ///< attempts that evaluators of this process have
  std::size_t completing = 0;  ///< ends on their way to their jobs
  std::uint64_t next_ticket = 1;
  std::uint64_t next_id = 1;
  ClientId next_client = 1;
  bool stopping = false;

  // Functions of which nothing else is said are called without the mutex.

  /// Needs the mutex.
  [[nodiscard]] bool idle() const { return working == 0 && completing == 0; }
  /// Calls `what`, without the mutex, on the timer thread.  Needs the mutex.
  void at(Clock::time_point when, std::function<void()> what);
  void run_timer(const std::stop_token& stop);

  /// Needs the mutex.
  void offer_turn(ClientId id, ClientState& client);
  /// Makes an attempt of the client's next item that this taker may have.  Needs the mutex.
  bool take_one(ClientId id, ClientState& client, const Taker& taker, Requests& taken);
  /// Needs the mutex.
  Requests take(Lane& lane, const Taker& taker);
  Requests take_leased(Lane& lane, const Taker& taker);
  /// Jobs of this lane that cannot start anything for want of budget, each told once.
  void report_shortages(Lane& lane);

  /// Calls `go` with those of the requests that may begin, once their start is durable.
  void begin(Lane& lane, Requests requests, std::function<void(Requests)> go);
  /// Those that may begin; the others are over.
  Requests begun(Requests requests, bool durable);
  void pump(Lane& lane);
  void serve_waiters(Lane& lane);
  void send(Lane& lane, Requests requests);

  /// An attempt that is over, as its job is to be told.
  struct Over {
    std::uint64_t ticket = 0;
    EvaluationReply reply;
    AttemptEnd end = AttemptEnd::transient;  ///< where reply.kind is not done
  };
  void on_replies(Lane& lane, std::vector<EvaluationReply> replies);
  void on_over(Lane& lane, std::vector<Over> over);
  void on_progress(std::vector<EvaluationReply> replies);
  /// Whether the trial ends with this attempt; sets what its job is told.  Needs the mutex.
  bool ends_trial(Lane& lane, ClientState& client, Running& attempt, Over& over);
  /// Needs the mutex.
  void retry_later(ClientId id, Item item, AttemptEnd end);
  /// The slot is free.  Needs the mutex.
  void leave(Lane& lane, ClientId id);

  /// An attempt that was open when the daemon stopped.  Needs the mutex; the result is an attempt
  /// that is over, if it cannot go on.
  std::vector<Over> adopt(ClientId id, ClientState& client, Item item);
  void watch_lease(std::uint64_t ticket);
  void check_lease(std::uint64_t ticket);
};

}  // namespace paretod
