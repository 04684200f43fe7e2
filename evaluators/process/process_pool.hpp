#pragma once
// The processes of one process evaluator and the thread that drives them: assigns requests,
// watches deadlines, blames and restarts.  submit(), cancel(), wait_started() and stderr_tails()
// may be called from any thread; everything else happens on the pool's own.

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <unordered_map>
#include <utility>
#include <vector>

#include "evaluators/evaluator.hpp"
#include "evaluators/process/child.hpp"
#include "evaluators/process/process_link.hpp"
#include "evaluators/process/protocol.hpp"

namespace paretod {

struct PoolConfig {
  /// Its environment gets PARETOD_PROCESS=0, 1, ... added.
  ChildCommand command;
  std::size_t processes = 1;
  std::chrono::duration<double> hello_timeout{30};
  std::chrono::duration<double> grace{5};
};

class ProcessPool {
 public:
  explicit ProcessPool(PoolConfig config);
  /// Makes no further replies; see ~ProcessEvaluator.
  ~ProcessPool();

  /// Waits until all processes have said (the same) hello, or one has failed to.
  Result<Hello> wait_started();
  void submit(std::vector<EvaluationRequest> requests, Evaluator::Reply reply);
  void cancel(std::uint64_t ticket);
  [[nodiscard]] std::vector<std::string> stderr_tails() const;

 private:
  using Clock = std::chrono::steady_clock;
  using Time = Clock::time_point;

  struct Pending {
    EvaluationRequest request;
    std::shared_ptr<const Evaluator::Reply> reply;
  };
  struct TimerKey {
    std::size_t worker;
    std::string id;
  };
  using Timers = std::multimap<Time, TimerKey>;

  enum class Stage {
    running,
    cancelled,  ///< by the caller
    overdue,    ///< by its deadline
  };
  struct InFlight {
    Pending pending;
    Time sent;
    std::uint64_t log_begin = 0;  ///< ProcessLink::stderr_position() when it was sent
    Stage stage = Stage::running;
    std::optional<Timers::iterator> timer = {};  ///< its deadline; later the end of the grace
  };

  enum class State {
    waiting,   ///< no process until `timer`
    starting,  ///< its hello is expected until `timer`
    ready,
    ending,  ///< killed, its exit is awaited
  };
  struct Worker {
    State state = State::waiting;
    ProcessLink link;
    std::unordered_map<std::string, InFlight> in_flight;
    std::optional<Time> timer = {};
    unsigned failures = 0;  ///< since it last answered a request
    /// Works on a suspect, and on nothing else meanwhile.
    bool isolated = false;
  };

  void run();
  bool take_inbox();
  void wait_for_events();
  void shut_down();
  bool wait_for_exits(Time until);

  void start(std::size_t index);
  void start_failed(const std::string& reason);
  void handle_events(std::size_t index);
  void handle_line(std::size_t index, std::string_view line);
  void handle_hello(std::size_t index, std::string_view line);
  void handle_message(std::size_t index, std::string_view line);
  void handle_exit(std::size_t index);
  void handle_progress(std::size_t index, const ProgressMessage& message);
  /// Kills a process that misbehaves; its requests are answered with the reason.  Where one of
  /// them is known to be the culprit, the others are not to blame.
  void condemn(std::size_t index, const std::string& reason, const std::string& culprit = {});
  void schedule_restart(Worker& worker);

  void assign();
  /// Where a request can go now; a process that has to run empty for it first is added to `held`.
  std::optional<std::size_t> choose(const EvaluationRequest& request, std::vector<bool>& held);
  void dispatch(std::size_t index, Pending pending);
  void cancel_now(std::uint64_t ticket);
  void ask_to_stop(Worker& worker, std::size_t index, const std::string& id, InFlight& in_flight,
                   Stage stage);
  void on_timers();
  void on_worker_timer(std::size_t index);
  void on_request_timer(const TimerKey& key);

  InFlight take(Worker& worker, const std::string& id);
  static void answer(InFlight in_flight, EvaluationReply reply);
  /// Likewise, with who worked on it and what it wrote meanwhile.
  void answer_from(std::size_t index, InFlight in_flight, EvaluationReply reply);
  /// The reply to a request that will get no answer from its process.
  static EvaluationReply lost(const InFlight& in_flight, ReplyKind kind, const std::string& reason);
  void answer_all_lost(std::size_t index, const std::string& reason, const std::string& culprit);

  const PoolConfig config_;
  FileDescriptor wake_;

  // The pool's thread.
  std::vector<std::unique_ptr<Worker>> workers_;
  std::deque<Pending> queue_;
  Timers timers_;
  std::optional<Hello> hello_;
  std::vector<pollfd> poll_;

  // Shared, under mutex_.
  std::mutex mutex_;
  std::condition_variable started_;
  std::optional<Result<Hello>> startup_;
  std::vector<Pending> inbox_;
  std::vector<std::uint64_t> cancels_;
  bool sleeping_ = false;
  bool stopping_ = false;

  std::thread thread_;
};

}  // namespace paretod
