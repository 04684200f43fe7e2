#include "daemon/rest/front_slice.hpp"

#include <span>
#include <utility>

namespace paretod {
void add_point(FrontSlice& slice, const PooledPoints& pool, std::size_t point) {
  slice.trials.push_back(pool.first_trials[point]);
  slice.replicates.push_back(pool.replicates[point]);
  slice.points.emplace_back(pool.mean(point), pool.mean(point) + pool.objectives);
  slice.errors.insert(slice.errors.end(), pool.error(point), pool.error(point) + pool.objectives);
}

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
    if (pool.competes(point)) {
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
