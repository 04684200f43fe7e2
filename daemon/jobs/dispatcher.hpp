#pragma once
// Gives candidates to free evaluator slots: one lane per evaluator, jobs taking turns within it,
// retries with jittered backoff.  A transient failure is retried as often as the job allows; a
// fault (fatal, crash, hang) once, by another worker if there is one: a second makes the trial a
// failed one, "poison", so that a candidate that kills whoever touches it cannot end the search.
// Thread-safe.

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "daemon/jobs/catalog.hpp"
#include "evaluators/evaluator.hpp"

namespace paretod {

/// What the dispatcher tells a job.
class TrialSink {
 public:
  virtual ~TrialSink() = default;
  struct Completion {
    TrialNumber number = 0;
    Outcome outcome;
  };
  /// The final outcomes of dispatched trials, each once; from any thread, no locks held.
  virtual void complete(std::vector<Completion> completions) = 0;
};

struct WorkItem {
  TrialNumber number = 0;
  Candidate candidate;
};

struct LaneStatus {
  std::string evaluator;
  std::size_t slots = 0;
  std::size_t busy = 0;
  std::size_t queued = 0;
  std::uint64_t completed = 0;
  std::uint64_t retried = 0;
};

class Dispatcher {
 public:
  explicit Dispatcher(const Catalog& catalog);
  /// Nothing may be in flight any more, or its completion is dropped.
  ~Dispatcher();

  /// What a job needs to say once.
  struct Client {
    std::shared_ptr<const EvaluationContext> context;
    std::string evaluator;
    std::weak_ptr<TrialSink> sink;
    double trial_timeout_s = 0;
    std::uint32_t max_attempts = 3;
  };
  using ClientId = std::uint64_t;
  ClientId add_client(Client client);
  void remove_client(ClientId id);

  /// At most `parallelism` of the client's items run at once.
  void set_parallelism(ClientId id, std::size_t parallelism);
  void enqueue(ClientId id, std::vector<WorkItem> items);
  /// Takes back what has not started; its completion will not come.  Returns their numbers.
  std::vector<TrialNumber> withdraw(ClientId id);
  /// Withdraws, and asks the evaluator to cancel what runs.
  void cancel(ClientId id);

  /// No new attempts from now on.
  void stop_dispatching();
  /// True when nothing is in flight and every outcome has reached its job.
  bool wait_idle(double seconds);

  [[nodiscard]] std::vector<LaneStatus> lanes() const;

 private:
  struct Lane;
  struct State;
  std::shared_ptr<State> state_;
  std::jthread timer_;
};

}  // namespace paretod
