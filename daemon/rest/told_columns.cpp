#include "daemon/rest/told_columns.hpp"

#include <algorithm>
#include <span>

#include "optimizers/core/replicates.hpp"

namespace paretod {
namespace {

/// A few milliseconds of holding the job's lock.  Getting it from a busy job may take longer.
constexpr std::size_t rows_per_lock = 16'384;
constexpr std::size_t remembered_jobs = 8;

}  // namespace

void ToldColumns::add(TrialNumber trial, const TrialRecord& record, std::uint32_t point,
                      const std::vector<Objective>& of, bool own) {
  const Outcome& outcome = *record.outcome;
  objectives = of.size();
  trials.push_back(trial);
  told_ms.push_back(record.told_ms);
  spent.push_back(spent.empty() ? Spend{} : spent.back());
  spent.back() += outcome.cost;
  points.push_back(point);
  feasible.push_back(violation_of(outcome.constraints) <= 0 ? 1 : 0);
  const bool has_values = point != JobState::no_point;
  const std::uint64_t fidelity = record.candidate.fidelity;
  const std::uint64_t least = least_fidelities.empty() ? 0 : least_fidelities.back();
  fidelities.push_back(fidelity);
  least_fidelities.push_back(own && has_values ? std::max(least, fidelity) : least);
  for (std::size_t i = 0; i < objectives; ++i) {
    const Measurement m = has_values ? outcome.objectives[i] : Measurement{};
    values.push_back(of[i].goal == Goal::maximize ? -m.value : m.value);
    errors.push_back(m.standard_error);
  }
  const std::size_t last = size() - 1;
  if (first_repeat < last) return;
  if (has_values && point < known_points_) return;
  if (least_fidelities[last] > least && last > 0) return;
  first_repeat = size();
  if (!has_values) return;
  known_points_ = point + 1;
  if (feasible[last] != 0 && fidelity >= least &&
      front_.insert(last, std::span(row(last), objectives))) {
    entries.push_back(last);
  }
}

void PooledPoints::extend(const ToldColumns& told, std::size_t end) {
  const std::size_t n = objectives = told.objectives;
  if (end > 0) least_fidelity = told.least_fidelities[end - 1];
  for (; rows < end; ++rows) {
    if (!told.ok(rows)) continue;
    const std::size_t point = told.points[rows];
    const double* y = told.row(rows);
    if (point == size()) {
      first_trials.push_back(told.trials[rows]);
      replicates.push_back(1);
      feasible.push_back(told.feasible[rows]);
      fidelities.push_back(told.fidelities[rows]);
      means.insert(means.end(), y, y + n);
      const double* error = &told.errors[rows * n];
      errors.insert(errors.end(), error, error + n);
      continue;
    }
    // Welford's update, as in JobState.
    if (squares_.size() < (point + 1) * n) {
      squares_.resize(size() * n);
      reported_.resize(size() * n);
    }
    const auto count = static_cast<double>(++replicates[point]);
    feasible[point] = feasible[point] & told.feasible[rows];
    for (std::size_t i = 0; i < n; ++i) {
      double& mean = means[point * n + i];
      double& squares = squares_[point * n + i];
      const double delta = y[i] - mean;
      mean += delta / count;
      squares += delta * (y[i] - mean);
      double& reported = reported_[point * n + i];
      double& error = errors[point * n + i];
      if (replicates[point] == 2) reported = add_reported(0, error);
      reported = add_reported(reported, told.errors[rows * n + i]);
      error = replicate_error(replicates[point], squares, reported);
    }
  }
}

PooledPoints pooled_for_front(const ToldColumns& told, std::size_t rows) {
  PooledPoints pool;
  if (rows > told.first_repeat) {
    pool.extend(told, rows);
    return pool;
  }
  const std::size_t n = told.objectives;
  pool.rows = rows;
  pool.objectives = n;
  if (rows > 0) pool.least_fidelity = told.least_fidelities[rows - 1];
  for (const std::size_t row : told.entries) {
    if (row >= rows) break;
    pool.first_trials.push_back(told.trials[row]);
    pool.replicates.push_back(1);
    pool.feasible.push_back(1);
    pool.fidelities.push_back(told.fidelities[row]);
    pool.means.insert(pool.means.end(), told.row(row), told.row(row) + n);
    const double* error = &told.errors[row * n];
    pool.errors.insert(pool.errors.end(), error, error + n);
  }
  return pool;
}

std::shared_ptr<ToldCache::Entry> ToldCache::entry_of(const std::string& job) {
  const std::lock_guard lock(mutex_);
  const auto found = std::find_if(recent_.begin(), recent_.end(),
                                  [&](const auto& entry) { return entry.first == job; });
  if (found != recent_.end()) {
    recent_.splice(recent_.begin(), recent_, found);
  } else {
    recent_.emplace_front(job, std::make_shared<Entry>());
    if (recent_.size() > remembered_jobs) recent_.pop_back();
  }
  return recent_.front().second;
}

void ToldCache::extend(Job& job, ToldColumns& columns) {
  bool more = true;
  while (more) {
    job.with_state([&](JobState& state) {
      const auto& order = state.told_order();
      const std::size_t end = std::min(order.size(), columns.size() + rows_per_lock);
      for (std::size_t row = columns.size(); row < end; ++row) {
        columns.add(order[row], state.trials()[order[row] - 1], state.told_points()[row],
                    state.spec().objectives, state.is_own(order[row]));
      }
      more = end < order.size();
    });
  }
}

}  // namespace paretod
