#include "daemon/rest/history_view.hpp"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>
#include <unordered_map>

#include "adapters/json/space_json.hpp"
#include "daemon/rest/front_view.hpp"
#include "daemon/rest/json_text.hpp"
#include "daemon/rest/views.hpp"

namespace paretod {
namespace {

using nlohmann::json;

/// Some milliseconds of holding the lock.  Getting it from a busy job may take longer than that.
constexpr std::size_t samples_per_lock = 16'384;

/// Means of one objective by point, ranked.
class RankedMeans {
 public:
  void add(std::uint64_t key, double value) {
    Mean& mean = means_[key];
    if (mean.count > 0) ranked_.erase({mean.value, key});
    ++mean.count;
    mean.value += (value - mean.value) / static_cast<double>(mean.count);
    ranked_.emplace(mean.value, key);
  }
  /// Precondition: something was added.
  [[nodiscard]] const std::pair<double, std::uint64_t>& best() const { return *ranked_.begin(); }

 private:
  struct Mean {
    double value = 0;
    std::uint64_t count = 0;
  };
  std::unordered_map<std::uint64_t, Mean> means_;
  std::set<std::pair<double, std::uint64_t>> ranked_;
};

/// The front of points whose means still move.
class MovingFront {
 public:
  void add(std::uint64_t key, const std::vector<double>& objectives) {
    const auto [at, is_new] = index_.try_emplace(key, means_.size());
    if (is_new) {
      means_.push_back(objectives);
      counts_.push_back(1);
      if (!stale_) archive_.insert(at->second, objectives);
      return;
    }
    std::vector<double>& mean = means_[at->second];
    const auto count = static_cast<double>(++counts_[at->second]);
    for (std::size_t i = 0; i < mean.size(); ++i) mean[i] += (objectives[i] - mean[i]) / count;
    stale_ = true;
  }
  std::vector<std::vector<double>> members() {
    if (stale_) {
      archive_.clear();
      for (std::size_t i = 0; i < means_.size(); ++i) archive_.insert(i, means_[i]);
      stale_ = false;
    }
    return archive_.all_objectives();
  }

 private:
  std::unordered_map<std::uint64_t, std::size_t> index_;
  std::vector<std::vector<double>> means_;
  std::vector<std::uint64_t> counts_;
  ParetoArchive archive_;
  bool stale_ = false;
};

json row_of(const HistorySample& sample, std::int64_t created_ms) {
  return {{"trial", sample.trial},
          {"told", sample.told},
          {"time", time_text(sample.told_ms)},
          {"seconds", static_cast<double>(sample.told_ms - created_ms) / 1000},
          {"best", nullptr},
          {"hypervolume", nullptr}};
}

json best_rows(const std::vector<HistorySample>& samples, const std::vector<Objective>& objectives,
               std::int64_t created_ms, std::size_t points) {
  RankedMeans means;
  std::vector<std::pair<std::size_t, double>> changes;  // place in samples, best from there on
  for (std::size_t i = 0; i < samples.size(); ++i) {
    means.add(samples[i].point_key, samples[i].objectives[0]);
    const double best = means.best().first;
    if (changes.empty() || changes.back().second != best) changes.emplace_back(i, best);
  }
  if (!changes.empty() && changes.back().first + 1 < samples.size()) {
    changes.emplace_back(samples.size() - 1, changes.back().second);
  }
  json rows = json::array();
  for (const std::size_t i : spread(changes.size(), points)) {
    json row = row_of(samples[changes[i].first], created_ms);
    row["best"] = by_objective(flip_signs({changes[i].second}, objectives), objectives);
    row["front_size"] = 1;
    rows.push_back(std::move(row));
  }
  return rows;
}

std::vector<double> reference_of(const std::vector<HistorySample>& samples, bool final) {
  std::vector<double> worst;
  if (samples.size() < reference_trials && !final) return worst;
  for (std::size_t i = 0; i < std::min(samples.size(), reference_trials); ++i) {
    const std::vector<double>& y = samples[i].objectives;
    if (worst.empty()) worst = y;
    for (std::size_t j = 0; j < y.size(); ++j) worst[j] = std::max(worst[j], y[j]);
  }
  return worst;
}

json front_rows(const std::vector<HistorySample>& samples, const std::vector<double>& reference,
                std::int64_t created_ms, std::size_t points) {
  MovingFront moving;
  json rows = json::array();
  std::size_t added = 0;
  for (const std::size_t place : spread(samples.size(), points)) {
    for (; added <= place; ++added) {
      moving.add(samples[added].point_key, samples[added].objectives);
    }
    const auto front = moving.members();
    json row = row_of(samples[place], created_ms);
    row["front_size"] = front.size();
    if (!reference.empty()) {
      if (const auto volume = affordable_hypervolume(front, reference))
        row["hypervolume"] = *volume;
    }
    rows.push_back(std::move(row));
  }
  return rows;
}

}  // namespace

std::vector<HistorySample> history_samples(Job& job) {
  std::vector<HistorySample> samples;
  std::size_t next = 0;
  bool more = true;
  while (more) {
    job.with_state([&](JobState& state) {
      const auto& order = state.told_order();
      const std::size_t end = std::min(order.size(), next + samples_per_lock);
      for (; next < end; ++next) {
        const TrialRecord& record = state.trials()[order[next] - 1];
        if (record.outcome->status != TrialStatus::ok) continue;
        std::vector<double> values;
        values.reserve(record.outcome->objectives.size());
        for (const Measurement& m : record.outcome->objectives) values.push_back(m.value);
        samples.push_back({order[next], next + 1, record.told_ms, hash_of(record.candidate.point, record.candidate.fidelity),
                           flip_signs(std::move(values), state.spec().objectives)});
      }
      more = next < order.size();
    });
  }
  return samples;
}

json history_view(const std::vector<HistorySample>& samples,
                  const std::vector<Objective>& objectives, std::int64_t created_ms, bool final,
                  std::size_t points) {
  json view{{"objectives", to_json(objectives)}, {"reference_point", nullptr}};
  if (objectives.size() == 1) {
    view["history"] = best_rows(samples, objectives, created_ms, points);
    return view;
  }
  const std::vector<double> reference = reference_of(samples, final);
  if (!reference.empty()) {
    view["reference_point"] = by_objective(flip_signs(reference, objectives), objectives);
  }
  view["history"] = front_rows(samples, reference, created_ms, points);
  return view;
}

}  // namespace paretod
