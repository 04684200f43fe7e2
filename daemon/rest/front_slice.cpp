#include "daemon/rest/front_slice.hpp"

#include <algorithm>
#include <numeric>
#include <span>
#include <utility>

#include "optimizers/core/rng.hpp"

namespace paretod {
namespace {

void add_point(FrontSlice& slice, const PooledPoints& pool, std::size_t point) {
  slice.trials.push_back(pool.first_trials[point]);
  slice.replicates.push_back(pool.replicates[point]);
  slice.points.emplace_back(pool.mean(point), pool.mean(point) + pool.objectives);
  slice.errors.insert(slice.errors.end(), pool.error(point), pool.error(point) + pool.objectives);
}

}  // namespace

void measure(FrontSlice& slice) {
  slice.crowding = crowding_distances(slice.points);
  slice.scale = scale_of(slice.points);
}

std::shared_ptr<FrontSlice> slice_of(JobState& state) {
  auto slice = std::make_shared<FrontSlice>();
  const ParetoArchive& front = state.front();
  slice->points = front.all_objectives();
  slice->trials.reserve(front.size());
  for (std::size_t member = 0; member < front.size(); ++member) {
    const MeasuredPoint& measured = state.measured()[front.id(member)];
    const Outcome& first = *state.trials()[measured.first_trial - 1].outcome;
    slice->trials.push_back(measured.first_trial);
    slice->replicates.push_back(measured.replicates);
    for (std::size_t i = 0; i < measured.mean.size(); ++i) {
      slice->errors.push_back(measured.standard_error(i, first));
    }
  }
  return slice;
}

std::shared_ptr<FrontSlice> slice_of(const PooledPoints& pool) {
  ParetoArchive archive;
  for (std::size_t point = 0; point < pool.size(); ++point) {
    if (pool.feasible[point] != 0) {
      archive.insert(point, std::span(pool.mean(point), pool.objectives));
    }
  }
  auto slice = std::make_shared<FrontSlice>();
  slice->told = pool.rows;
  for (std::size_t member = 0; member < archive.size(); ++member) {
    add_point(*slice, pool, archive.id(member));
  }
  measure(*slice);
  return slice;
}

FrontSlice plausible_points(const PooledPoints& pool, const FrontSlice& front, double confidence) {
  const double z = normal_quantile(confidence);
  const std::size_t n = pool.objectives;
  std::vector<std::uint8_t> on_front;  // by trial
  for (const TrialNumber trial : front.trials) {
    if (on_front.size() <= trial) on_front.resize(trial + 1);
    on_front[trial] = 1;
  }
  // Who dominated a point is tried early for the next: most points fall at the first try.
  std::vector<std::size_t> order(front.trials.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::vector<std::size_t> kept;
  for (std::size_t point = 0; point < pool.size(); ++point) {
    const TrialNumber trial = pool.first_trials[point];
    if (pool.feasible[point] == 0 || (trial < on_front.size() && on_front[trial] != 0)) continue;
    bool dominated = false;
    for (std::size_t k = 0; k < order.size() && !dominated; ++k) {
      dominated = dominates_surely(front.points[order[k]].data(), &front.errors[order[k] * n],
                                   pool.mean(point), pool.error(point), n, z);
      if (dominated) std::swap(order[k], order[k / 2]);
    }
    if (!dominated) kept.push_back(point);
  }
  std::sort(kept.begin(), kept.end(), [&](std::size_t a, std::size_t b) {
    return std::lexicographical_compare(pool.mean(a), pool.mean(a) + n, pool.mean(b),
                                        pool.mean(b) + n);
  });
  FrontSlice slice;
  for (const std::size_t point : kept) add_point(slice, pool, point);
  return slice;
}

std::vector<FrontPoint> filled(Job& job, const JobSpec& spec, const FrontSlice& slice,
                               const std::vector<std::size_t>& places) {
  std::vector<FrontPoint> points;
  points.reserve(places.size());
  const std::size_t n = spec.objectives.size();
  for (const std::size_t place : places) {
    FrontPoint point{slice.trials[place], slice.replicates[place], {}, {}};
    for (std::size_t i = 0; i < n; ++i) {
      const double value = slice.points[place][i];
      const bool negated = spec.objectives[i].goal == Goal::maximize;
      point.objectives.push_back({negated ? -value : value, slice.errors[place * n + i], 0});
    }
    points.push_back(std::move(point));
  }
  if (points.empty()) return points;
  job.with_state([&](JobState& state) {
    for (FrontPoint& point : points) {
      const TrialRecord& record = state.trials()[point.trial - 1];
      point.candidate = record.candidate;
      for (std::size_t i = 0; i < n; ++i) {
        point.objectives[i].count = record.outcome->objectives[i].count;
      }
    }
  });
  return points;
}

}  // namespace paretod
