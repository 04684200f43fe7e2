#pragma once
// Jobs on an in-memory log, for tests: a catalog, managers that come and go over one backend (a
// crash is a manager that is dropped while its log is cut), and logs in comparable form.

#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "daemon/jobs/catalog.hpp"
#include "daemon/jobs/job_manager.hpp"
#include "daemon/store/memory_backend.hpp"

namespace paretod {

/// An evaluator whose function and timing a test controls.
class FunctionEvaluator final : public Evaluator {
 public:
  using Function = std::function<EvaluationReply(const EvaluationRequest&)>;

  FunctionEvaluator(Function function, std::size_t slots, bool paid = false);
  /// Its type is "test".
  FunctionEvaluator(Function function, EvaluatorDescription description);
  ~FunctionEvaluator() override;
  [[nodiscard]] EvaluatorDescription describe() const override;
  [[nodiscard]] Problems check(const EvaluationContext&) const override { return {}; }
  void evaluate(std::vector<EvaluationRequest> requests, Reply reply) override;
  void cancel(std::uint64_t ticket) override;

  /// Holds every request back until release(); counts those held.
  void hold();
  void release();
  void wait_until_held(std::size_t count);
  [[nodiscard]] std::size_t most_at_once() const;
  [[nodiscard]] std::size_t cancelled() const;

 private:
  struct State;
  std::shared_ptr<State> state_;
};

/// Two objectives of two real parameters, deterministic.
EvaluationReply two_valleys(const EvaluationRequest& request);

/// All registered optimizers and the built-in evaluators, and "test" if given.
std::unique_ptr<Catalog> test_catalog(std::unique_ptr<Evaluator> test = nullptr);

/// Parses, completes and checks; fails the test if that fails.
JobSpec spec_from(const std::string& text, const Catalog& catalog);

/// A small suitable job for each registered optimizer: its name and spec.
std::vector<std::pair<std::string, std::string>> suitable_jobs(std::size_t parallelism);

/// Waits until the job has been told so many trials; the job's own end does not end the wait.
void wait_until_told(Job& job, std::size_t trials);

/// The log as (id, text) pairs.
std::vector<std::pair<EventId, std::string>> raw_log(LogBackend& backend, const std::string& job);

/// Events that a search is responsible for, without times, durations and owners: equal for equal
/// searches.
std::vector<std::string> canonical_log(LogBackend& backend, const std::string& job);

/// A backend that holds the first `events` events of a log under the same name.
std::unique_ptr<MemoryBackend> truncated(LogBackend& backend, const std::string& job,
                                         std::size_t events);

/// Creates the job and waits for its end; returns its id.
std::string run_to_end(LogBackend& backend, const Catalog& catalog, const JobSpec& spec);
/// Recovers every job and waits for their ends.
void recover_to_end(LogBackend& backend, const Catalog& catalog);

}  // namespace paretod
