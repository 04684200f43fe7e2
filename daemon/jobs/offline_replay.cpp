#include "daemon/jobs/offline_replay.hpp"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <sstream>
#include <utility>

#include "daemon/jobs/recorded_search.hpp"

namespace paretod {
namespace {

using nlohmann::json;

/// Serves the log and nothing else: where the log ends, so does the search.
class RecordedEvaluations final : public Evaluations {
 public:
  explicit RecordedEvaluations(const JobState& state)
      : state_(state),
        search_(state),
        submitted_(state.imported()),
        delivered_(submitted_),
        trials_(search_.initial_trials()),
        parallelism_(search_.initial_parallelism()) {}

  TrialNumber submit(const Candidate& candidate) override {
    if (remaining() == 0) throw BudgetSpent{};
    ++submitted_;
    // Beyond the log, a job that was still running is asking for what it would have asked next.
    const TrialNumber recorded = search_.take_asked(candidate);
    last_ = recorded > 0 ? recorded : std::max<TrialNumber>(last_, state_.trials().size()) + 1;
    return last_;
  }
  Trial next() override {
    if (!search_.has_next()) throw SearchStopped{};
    auto delivery = search_.next();
    check_submitted(delivery.trial.number, last_);
    ++delivered_;
    trials_ = delivery.trials;
    parallelism_ = delivery.parallelism;
    for (Trial& trial : delivery.injected) injected_.push_back(std::move(trial));
    return std::move(delivery.trial);
  }
  std::vector<Trial> injected() override { return std::exchange(injected_, {}); }
  [[nodiscard]] std::size_t in_flight() const override { return submitted_ - delivered_; }
  [[nodiscard]] std::uint64_t remaining() const override {
    return trials_ > submitted_ ? trials_ - submitted_ : 0;
  }
  [[nodiscard]] std::size_t parallelism() const override { return parallelism_; }
  /// Without the imported ones, which nobody asks for.
  [[nodiscard]] std::uint64_t submitted() const { return submitted_ - state_.imported(); }

 private:
  const JobState& state_;
  RecordedSearch search_;
  std::vector<Trial> injected_;
  TrialNumber last_ = 0;  ///< the latest number given
  std::uint64_t submitted_;
  std::uint64_t delivered_;
  std::uint64_t trials_;
  std::size_t parallelism_;
};

Result<JobState> fold_export(const std::string& text) {
  JobState state;
  std::istringstream lines(text);
  std::string line;
  for (std::size_t number = 1; std::getline(lines, line); ++number) {
    if (line.empty()) continue;
    const std::string at = "line " + std::to_string(number) + ": ";
    const json j = json::parse(line, nullptr, /*allow_exceptions=*/false);
    const auto id = j.is_object() && j.contains("id") && j["id"].is_string()
                        ? EventId::parse(j["id"].get<std::string>())
                        : std::nullopt;
    if (!id || !j.contains("event")) {
      return invalid(at + "is not an event; the file should come from `paretod export`");
    }
    auto event = decode(j["event"].dump());
    if (!event) return invalid(at + event.error().message);
    if (auto applied = state.apply(*id, *event); !applied) {
      return invalid(at + applied.error().message);
    }
  }
  if (!state.created()) return invalid("the file holds no job");
  return state;
}

}  // namespace

Result<ReplayVerdict> replay_export(const std::string& export_text,
                                    const std::vector<Optimizer>& optimizers) {
  auto state = fold_export(export_text);
  if (!state) return state.error();
  const JobSpec& spec = state->spec();
  const auto optimizer = std::find_if(optimizers.begin(), optimizers.end(),
                                      [&](const auto& o) { return o.name == spec.optimizer; });
  if (optimizer == optimizers.end() || optimizer->revision != spec.optimizer_revision) {
    return invalid("this build does not have revision " + std::to_string(spec.optimizer_revision) +
                   " of optimizer \"" + spec.optimizer + "\"");
  }
  ReplayVerdict verdict;
  verdict.job_name = spec.name;
  RecordedEvaluations evaluations(*state);
  try {
    static_cast<void>(run_search(state->problem(), spec, *optimizer, evaluations));
    verdict.complete = true;
  } catch (const SearchStopped&) {
  } catch (const Diverged& diverged) {
    verdict.mismatch = diverged.message;
  }
  const std::uint64_t asked = state->trials().size() - state->imported() - state->injected();
  verdict.trials = std::min(evaluations.submitted(), asked);
  if (verdict.mismatch.empty() && verdict.trials < asked) {
    verdict.mismatch = "the optimizer ended after " + std::to_string(verdict.trials) +
                       " trials; the log records " + std::to_string(asked);
  }
  return verdict;
}

}  // namespace paretod
