#include "daemon/jobs/job_state.hpp"

#include <algorithm>

#include "optimizers/core/replicates.hpp"

namespace paretod {
namespace {

Error out_of_order(const std::string& what) {
  return Error{ErrorKind::corrupt, "the log does not add up: " + what};
}

}  // namespace

double MeasuredPoint::standard_error(std::size_t i, const Outcome& first) const {
  if (replicates < 2) return first.objectives[i].standard_error;
  return replicate_error(replicates, squares[i], reported[i]);
}

Result<void> JobState::apply(EventId id, const Event& event) {
  if (!spec_ && event.body.index() > 1) return out_of_order("it does not start with its job spec");
  if (!may_follow(event.body)) return out_of_order("something follows the end of the job");
  if (status_ == JobStatus::running && event.time_ms > updated_ms_ &&
      !std::holds_alternative<OwnerEvent>(event.body)) {
    running_ms_ += event.time_ms - updated_ms_;
  }
  top_ = id;
  updated_ms_ = event.time_ms;
  if (const auto* asked = std::get_if<AskedEvent>(&event.body)) {
    return apply_asked(*asked, event.time_ms);
  }
  if (const auto* told = std::get_if<ToldEvent>(&event.body)) {
    return apply_told(*told, event.time_ms);
  }
  if (const auto* started = std::get_if<StartedEvent>(&event.body)) return apply_started(*started);
  if (const auto* ended = std::get_if<EndedEvent>(&event.body)) return apply_ended(*ended);
  if (const auto* created = std::get_if<CreatedEvent>(&event.body)) {
    spec_ = created->spec;
    request_digest_ = created->request_digest;
    budget_ = spec_->budget;
    parallelism_ = spec_->parallelism;
    created_ms_ = event.time_ms;
    status_ = JobStatus::running;
    for (const ImportedTrial& trial : created->imported) {
      const TrialNumber number = trials_.size() + 1;
      imported_ = number;
      auto applied = apply_asked({number, trial.candidate}, event.time_ms);
      if (applied) applied = apply_told({number, trial.outcome}, event.time_ms);
      if (!applied) return applied;
    }
    spent_ = {};  // the other job paid for them
  } else if (const auto* paused = std::get_if<PausedEvent>(&event.body)) {
    status_ = JobStatus::paused;
    status_reason_ = paused->reason;
    pause_cause_ = paused->cause;
  } else if (std::holds_alternative<ResumedEvent>(event.body)) {
    status_ = JobStatus::running;
    status_reason_.clear();
  } else if (const auto* extended = std::get_if<ExtendedEvent>(&event.body)) {
    apply_limits(*extended);
  } else if (const auto* budget = std::get_if<BudgetEvent>(&event.body)) {
    announced_[static_cast<std::size_t>(budget->resource)] = budget->percent;
  } else if (const auto* evaluator = std::get_if<EvaluatorEvent>(&event.body)) {
    evaluator_version_ = evaluator->version;
    told_before_version_ = told_order_.size();
  } else if (const auto* owner = std::get_if<OwnerEvent>(&event.body)) {
    if (nonce_.empty()) nonce_ = owner->nonce;
  } else if (const auto* finished = std::get_if<FinishedEvent>(&event.body)) {
    status_ = finished->status;
    status_reason_ = finished->reason;
    report_ = finished->report;
    finished_at_ = id;
    if (status_ == JobStatus::cancelled) open_injections_.clear();
  } else if (const auto* injected = std::get_if<InjectedEvent>(&event.body)) {
    return apply_injected(*injected, event.time_ms);
  }
  return {};
}

bool JobState::may_follow(const EventBody& body) const {
  if (!is_final(status_)) return true;
  if (const auto* told = std::get_if<ToldEvent>(&body)) {
    return open_injections_.contains(told->number);
  }
  // An attempt may end after another one gave its trial the outcome.
  const auto injected = [this](TrialNumber number) {
    return number >= 1 && number <= trials_.size() && trials_[number - 1].injected;
  };
  if (const auto* started = std::get_if<StartedEvent>(&body)) return injected(started->number);
  if (const auto* ended = std::get_if<EndedEvent>(&body)) return injected(ended->number);
  return std::holds_alternative<OwnerEvent>(body) || std::holds_alternative<InjectedEvent>(body) ||
         std::holds_alternative<BudgetEvent>(body) || std::holds_alternative<EvaluatorEvent>(body);
}

const JobState::Injection* JobState::injection(const std::string& key) const {
  const auto found = injections_.find(key);
  return found == injections_.end() ? nullptr : &found->second;
}

std::optional<TrialNumber> JobState::measured_as(const Candidate& candidate) const {
  for (const TrialNumber number : open_injections_) {
    const Candidate& open = trials_[number - 1].candidate;
    if (open.point == candidate.point && open.fidelity == candidate.fidelity &&
        open.replicate == candidate.replicate) {
      return number;
    }
  }
  const std::uint32_t point = point_of(candidate);
  if (point == no_point) return std::nullopt;
  for (std::size_t i = 0; i < told_order_.size(); ++i) {
    if (told_points_[i] != point) continue;
    if (trials_[told_order_[i] - 1].candidate.replicate == candidate.replicate) {
      return told_order_[i];
    }
  }
  return std::nullopt;
}

Result<void> JobState::apply_injected(const InjectedEvent& injected, std::int64_t time_ms) {
  TrialNumber number = injected.first;
  for (const Candidate& candidate : injected.candidates) {
    if (auto applied = apply_asked({number, candidate}, time_ms); !applied) return applied;
    trials_.back().injected = true;
    open_injections_.insert(number++);
    ++injected_;
  }
  if (!injected.key.empty()) {
    injections_[injected.key] = {injected.first, injected.candidates.size(),
                                 injected.request_digest};
  }
  return {};
}

Result<void> JobState::apply_asked(const AskedEvent& asked, std::int64_t time_ms) {
  if (asked.number != trials_.size() + 1) {
    return out_of_order("trial " + std::to_string(asked.number) + " was asked after trial " +
                        std::to_string(trials_.size()));
  }
  if (asked.candidate.point.size() != spec_->space.dimension()) {
    return out_of_order("a candidate has the wrong number of coordinates");
  }
  trials_.push_back({asked.candidate, std::nullopt, false, time_ms, 0});
  return {};
}

Result<void> JobState::apply_told(const ToldEvent& told, std::int64_t time_ms) {
  if (told.number < 1 || told.number > trials_.size()) {
    return out_of_order("trial " + std::to_string(told.number) + " was told but never asked");
  }
  TrialRecord& record = trials_[told.number - 1];
  if (record.outcome) {
    return out_of_order("trial " + std::to_string(told.number) + " was told twice");
  }
  if (told.outcome.status == TrialStatus::ok &&
      told.outcome.objectives.size() != spec_->objectives.size()) {
    return out_of_order("an outcome has the wrong number of objectives");
  }
  record.outcome = told.outcome;
  record.told_ms = time_ms;
  told_order_.push_back(told.number);
  ++counts_[static_cast<std::size_t>(told.outcome.status)];
  spent_ += told.outcome.cost;
  attempts_.erase(told.number);
  if (record.injected) ++injected_told_;
  open_injections_.erase(told.number);
  const bool ok = told.outcome.status == TrialStatus::ok;
  // An outcome that was used again is not another measurement.
  const bool again = told.outcome.same_as > 0;
  told_points_.push_back(!ok     ? no_point
                         : again ? point_of(record.candidate)
                                 : measure(told.number, record.candidate, told.outcome));
  return {};
}

bool JobState::is_own(TrialNumber number) const {
  return number > imported_ && !trials_[number - 1].injected;
}

bool JobState::is_told(TrialNumber number) const {
  return trials_[number - 1].outcome.has_value();
}

Result<void> JobState::apply_started(const StartedEvent& started) {
  if (started.number < 1 || started.number > trials_.size()) {
    return out_of_order("trial " + std::to_string(started.number) + " was started but never asked");
  }
  // An earlier attempt's late result may have come between.
  if (is_told(started.number)) return {};
  AttemptRecord& record = attempts_[started.number];
  record.started = started.attempt;
  record.open = true;
  record.worker = started.worker;
  record.hold = started.hold;
  return {};
}

Result<void> JobState::apply_ended(const EndedEvent& ended) {
  if (ended.number < 1 || ended.number > trials_.size()) {
    return out_of_order("an attempt at trial " + std::to_string(ended.number) +
                        " ended, which was never asked");
  }
  spent_ += ended.cost;
  if (is_told(ended.number)) return {};
  AttemptRecord& record = attempts_[ended.number];
  record.started = std::max(record.started, ended.attempt);
  record.count(ended.end, ended.worker);
  return {};
}

void JobState::apply_limits(const ExtendedEvent& limits) {
  const Spend caps = budget_.caps;
  budget_.trials = limits.trials.value_or(budget_.trials);
  budget_.wall_s = limits.wall_s.value_or(budget_.wall_s);
  budget_.caps.seconds = limits.evaluation_s.value_or(caps.seconds);
  budget_.caps.tokens = limits.tokens.value_or(caps.tokens);
  budget_.caps.money_micros = limits.money_micros.value_or(caps.money_micros);
  for (const Resource resource : all_resources) {
    if (amount_of(caps, resource) != amount_of(budget_.caps, resource)) {
      announced_[static_cast<std::size_t>(resource)] = 0;
    }
  }
  parallelism_ = limits.parallelism.value_or(parallelism_);
  limit_changes_.push_back({told_order_.size(), budget_.trials, parallelism_});
}

Spend JobState::held() const {
  Spend held;
  for (const auto& [number, record] : attempts_) held += record.hold;
  return held;
}

SearchProblem JobState::problem() const {
  SearchProblem problem = spec_->problem();
  for (TrialNumber number = 1; number <= imported_; ++number) {
    const TrialRecord& record = trials_[number - 1];
    problem.known.push_back(
        trial_view(number, record.candidate, *record.outcome, spec_->objectives));
  }
  return problem;
}

std::vector<double> JobState::minimised(const std::vector<double>& values) const {
  std::vector<double> y = values;
  for (std::size_t i = 0; i < y.size(); ++i) {
    if (spec_->objectives[i].goal == Goal::maximize) y[i] = -y[i];
  }
  return y;
}

std::uint32_t JobState::point_of(const Candidate& candidate) const {
  const std::uint64_t hash = hash_of(candidate.point, candidate.fidelity);
  const auto [first, last] = measured_by_hash_.equal_range(hash);
  const auto same = std::find_if(first, last, [&](const auto& entry) {
    const Candidate& other = trials_[measured_[entry.second].first_trial - 1].candidate;
    return other.fidelity == candidate.fidelity && other.point == candidate.point;
  });
  return same == last ? no_point : same->second;
}

std::uint32_t JobState::measure(TrialNumber number, const Candidate& candidate,
                                const Outcome& outcome) {
  const bool feasible = violation_of(outcome.constraints) <= 0;
  if (is_own(number) && candidate.fidelity > front_fidelity_) {
    front_fidelity_ = candidate.fidelity;
    archive_stale_ = true;
    ++front_version_;
  }
  const std::uint32_t same = point_of(candidate);
  if (same == no_point) {
    const auto index = static_cast<std::uint32_t>(measured_.size());
    MeasuredPoint point{number, 1,       {}, std::vector<double>(outcome.objectives.size()),
                        {},     feasible};
    for (const Measurement& m : outcome.objectives) point.mean.push_back(m.value);
    measured_.push_back(std::move(point));
    measured_by_hash_.emplace(hash_of(candidate.point, candidate.fidelity), index);
    if (!archive_stale_ && insert_in_front(index)) ++front_version_;
    return index;
  }
  // Welford's update.
  MeasuredPoint& point = measured_[same];
  if (++point.replicates == 2) {
    for (const Measurement& first : trials_[point.first_trial - 1].outcome->objectives) {
      point.reported.push_back(add_reported(0, first.standard_error));
    }
  }
  point.feasible = point.feasible && feasible;
  for (std::size_t i = 0; i < point.mean.size(); ++i) {
    const double delta = outcome.objectives[i].value - point.mean[i];
    point.mean[i] += delta / point.replicates;
    point.squares[i] += delta * (outcome.objectives[i].value - point.mean[i]);
    point.reported[i] = add_reported(point.reported[i], outcome.objectives[i].standard_error);
  }
  if (archive_stale_) return same;
  // A member whose mean moves may leave the front and let others back on: the archive is rebuilt
  // when it is next asked for.
  if (archive_.contains(same)) {
    archive_stale_ = true;
    ++front_version_;
  } else if (insert_in_front(same)) {
    ++front_version_;
  }
  return same;
}

bool JobState::insert_in_front(std::size_t measured) {
  const MeasuredPoint& point = measured_[measured];
  const Candidate& candidate = trials_[point.first_trial - 1].candidate;
  return point.feasible && candidate.fidelity >= front_fidelity_ &&
         archive_.insert(measured, minimised(point.mean));
}

const ParetoArchive& JobState::front() {
  if (archive_stale_) {
    archive_.clear();
    for (std::size_t i = 0; i < measured_.size(); ++i) insert_in_front(i);
    archive_stale_ = false;
  }
  return archive_;
}

}  // namespace paretod
