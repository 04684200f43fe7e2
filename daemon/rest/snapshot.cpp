#include "daemon/rest/snapshot.hpp"

#include <algorithm>
#include <cmath>
#include <utility>

namespace paretod {
namespace {

/// Sweeps over the points that one hypervolume may take above three dimensions, in points: some
/// milliseconds.
constexpr double affordable_work = 1e5;

/// Componentwise worst of the first ok trials, minimised; empty while there are too few.
std::vector<double> reference_point(const JobState& state) {
  const bool enough = state.count(TrialStatus::ok) >= reference_trials;
  std::vector<double> worst;
  if (!enough && !is_final(state.status())) return worst;
  std::size_t seen = 0;
  for (const TrialNumber number : state.told_order()) {
    const Outcome& outcome = *state.trials()[number - 1].outcome;
    if (outcome.status != TrialStatus::ok) continue;
    std::vector<double> y;
    for (const Measurement& m : outcome.objectives) y.push_back(m.value);
    y = flip_signs(std::move(y), state.spec().objectives);
    if (worst.empty()) worst = y;
    for (std::size_t i = 0; i < y.size(); ++i) worst[i] = std::max(worst[i], y[i]);
    if (++seen == reference_trials) break;
  }
  return worst;
}

}  // namespace

std::optional<HypervolumeCache::Entry> HypervolumeCache::find(const std::string& job,
                                                              std::uint64_t front_version) const {
  const std::lock_guard lock(mutex_);
  const auto found = entries_.find(job);
  if (found == entries_.end() || found->second.front_version != front_version) return std::nullopt;
  return found->second;
}

void HypervolumeCache::put(const std::string& job, Entry entry) {
  const std::lock_guard lock(mutex_);
  entries_[job] = std::move(entry);
}

std::vector<double> flip_signs(std::vector<double> values,
                               const std::vector<Objective>& objectives) {
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (objectives[i].goal == Goal::maximize) values[i] = -values[i];
  }
  return values;
}

std::optional<double> affordable_hypervolume(const std::vector<std::vector<double>>& front,
                                             const std::vector<double>& reference) {
  const auto dimensions = static_cast<double>(reference.size());
  // Up to three dimensions it is n log n, above a sweep of three for each slice.
  const bool affordable = reference.size() <= 2 || std::pow(static_cast<double>(front.size()),
                                                            dimensions - 2) <= affordable_work;
  if (!affordable) return std::nullopt;
  return hypervolume(front, reference);
}

const JobSpec& spec_of(Job& job) {
  return *job.with_state([](JobState& state) { return &state.spec(); });
}

FrontPoint front_point(const JobState& state, std::size_t measured_index) {
  const MeasuredPoint& measured = state.measured()[measured_index];
  const TrialRecord& record = state.trials()[measured.first_trial - 1];
  FrontPoint point{measured.first_trial, measured.replicates, record.candidate, {}};
  point.objectives.reserve(measured.mean.size());
  for (std::size_t i = 0; i < measured.mean.size(); ++i) {
    point.objectives.push_back({measured.mean[i], measured.standard_error(i, *record.outcome),
                                record.outcome->objectives[i].count});
  }
  return point;
}

JobSnapshot take_snapshot(Job& job, HypervolumeCache& hypervolumes) {
  JobSnapshot snapshot;
  snapshot.id = job.id();
  snapshot.status = job.status();
  snapshot.trouble = job.trouble();
  snapshot.in_flight = job.in_flight();

  std::uint64_t version = 0;
  bool measure = false;
  std::vector<std::vector<double>> front;
  std::vector<double> reference;
  job.with_state([&](JobState& state) {
    snapshot.spec = &state.spec();
    // The status was read a moment ago; a final one must come with its report.
    if (is_final(state.status())) {
      snapshot.status = state.status();
      snapshot.report = &state.report();
    }
    snapshot.status_reason = state.status_reason();
    snapshot.created_ms = state.created_ms();
    snapshot.updated_ms = state.updated_ms();
    snapshot.running_ms = state.running_ms();
    snapshot.budget = state.budget();
    snapshot.parallelism = state.parallelism();
    snapshot.imported = state.imported();
    snapshot.injected = state.injected();
    snapshot.injected_told = state.injected_told();
    snapshot.asked = state.trials().size() - snapshot.imported - snapshot.injected;
    snapshot.told = state.told_order().size() - snapshot.imported - snapshot.injected_told;
    for (std::size_t i = 0; i < snapshot.counts.size(); ++i) {
      snapshot.counts[i] = state.count(static_cast<TrialStatus>(i));
    }
    snapshot.counts[static_cast<std::size_t>(TrialStatus::ok)] -= snapshot.imported;
    snapshot.spent = state.spent();
    snapshot.held = state.held();
    const ParetoArchive& archive = state.front();
    snapshot.front_size = archive.size();
    if (archive.empty()) return;
    if (state.spec().objectives.size() == 1) {
      snapshot.best = front_point(state, archive.id(0));
      return;
    }
    version = state.front_version();
    if (auto entry = hypervolumes.find(snapshot.id, version)) {
      snapshot.hypervolume = std::move(entry->hypervolume);
      return;
    }
    reference = reference_point(state);
    if (reference.empty()) return;
    measure = true;
    front = archive.all_objectives();
  });
  if (measure) {
    if (const auto value = affordable_hypervolume(front, reference)) {
      snapshot.hypervolume =
          Hypervolume{*value, flip_signs(std::move(reference), snapshot.spec->objectives)};
    }
    hypervolumes.put(snapshot.id, {version, snapshot.hypervolume});
  }
  return snapshot;
}

}  // namespace paretod
