// What is asked of a MapModel: predictions, preferences, and what to measure next.

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <utility>

#include "optimizers/core/front.hpp"
#include "optimizers/hypervolume_gain.hpp"
#include "optimizers/map_model.hpp"

namespace paretod {
namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();
/// In parts of the box: closer to a measured point there is nothing to learn.
constexpr double same_point = 0.002;
constexpr double equal_within = 5e-4;  // of the front's range
/// Besides those of the front shown, which at many objectives are mostly on its rim.
constexpr std::size_t fresh_directions = 48;
/// Of the posterior, over which the gain of a point is averaged.
constexpr std::size_t draws = 8;
/// Streams of the seed.
constexpr std::uint64_t draw_stream = 201, gain_stream = 202;

/// Root mean square over the coordinates, of a box two wide (or of shares).
double distance(std::span<const double> a, std::span<const double> b, bool simplex) {
  double sum = 0;
  for (std::size_t i = 0; i < a.size(); ++i) sum += (a[i] - b[i]) * (a[i] - b[i]);
  return std::sqrt(sum / static_cast<double>(a.size())) / (simplex ? 1 : 2);
}

/// Of the hypervolume scaled by ideal and nadir: with it no point of an even front of so many
/// counts for more than another (Ishibuchi et al., Evolutionary Computation 26(3), 2018, section
/// 4): 1 + 1 over the divisions of the simplex lattice that has as many points.
double reference_for(std::size_t points, std::size_t objectives) {
  const auto m = static_cast<double>(objectives);
  double divisions = 1, lattice = m;
  while (divisions < static_cast<double>(points)) {
    lattice *= (divisions + m) / (divisions + 1);
    if (lattice > static_cast<double>(points)) break;
    ++divisions;
  }
  return 1 + 1 / divisions;
}

}  // namespace

// ---- predicting --------------------------------------------------------------------------------

std::vector<double> MapModel::minimised(std::span<const double> means) const {
  std::vector<double> y;
  for (std::size_t k = 0; k < means.size(); ++k) y.push_back(signs_[k] * means[k]);
  return y;
}

PredictedPoint MapModel::predicted(std::span<const double> x) const {
  PredictedPoint result;
  result.point = space_.point(x);
  for (const QuadraticSurrogate& surrogate : surrogates_) {
    const Prediction prediction = surrogate.predict(x);
    result.means.push_back(prediction.mean);
    result.deviations.push_back(prediction.measured_sd);
    result.mean_deviations.push_back(prediction.mean_sd);
  }
  result.nearest_distance = infinity;
  for (const MapMeasurement& measured : measured_) {
    const double d = distance(x, measured.x, space_.simplex());
    if (d >= result.nearest_distance) continue;
    result.nearest_distance = d;
    result.nearest_trial = measured.trial;
  }
  result.feasibility = feasibility_.probability(x);
  result.extrapolated = !allowed(x);
  return result;
}

PredictedPoint MapModel::predict(const Point& point) const {
  PredictedPoint result = predicted(space_.scaled(point));
  result.point = point;
  return result;
}

std::vector<PredictedPoint> MapModel::front(std::size_t limit) const {
  std::vector<const SolverPoint*> shown;
  for (std::size_t i = 0; i < std::min(limit, front_.size()); ++i) shown.push_back(&front_[i]);
  std::sort(shown.begin(), shown.end(),
            [](const SolverPoint* a, const SolverPoint* b) { return a->y < b->y; });
  std::vector<PredictedPoint> points;
  for (const SolverPoint* p : shown) points.push_back(predicted(p->x));
  return points;
}

SurrogateAnswer MapModel::solve(const SurrogateQuery& query) const {
  const std::size_t m = objectives_.size();
  Scalarisation goal{query.weights, ideal_, ranges_};
  if (!query.reference_point.empty()) {
    goal.weights.assign(m, 0.0);
    for (std::size_t k = 0; k < m; ++k) {
      if (!query.reference_point[k]) continue;
      goal.weights[k] = 1;
      goal.origin[k] = signs_[k] * *query.reference_point[k];
    }
  }
  if (goal.weights.empty() || (query.weighted_sum && query.reference_point.empty())) {
    goal.max_share = 0;
    goal.sum_share = 1;
    if (goal.weights.empty()) goal.weights.assign(m, 1 / static_cast<double>(m));
  }
  if (!query.bounds.empty()) {
    goal.least.assign(m, -infinity);
    goal.most.assign(m, infinity);
    for (const SurrogateQuery::Bound& bound : query.bounds) {
      const std::size_t k = bound.objective;
      const bool equal = bound.least == bound.most;
      const double slack = equal ? equal_within * ranges_[k] : 0;
      const double low = (signs_[k] > 0 ? bound.least : -bound.most) - slack;
      const double high = (signs_[k] > 0 ? bound.most : -bound.least) + slack;
      goal.least[k] = std::max(goal.least[k], low);
      goal.most[k] = std::min(goal.most[k], high);
    }
  }
  Scalarisation inner = goal;  // the penalty leaves a remainder
  for (std::size_t k = 0; k < goal.least.size(); ++k) {
    inner.least[k] += equal_within / 2 * ranges_[k];
    inner.most[k] -= equal_within / 2 * ranges_[k];
  }
  const SolverPoint found = solver_->minimise(inner, front_);
  return {predicted(found.x), goal.value(found.y), goal.miss(found.y)};
}

std::vector<std::pair<std::vector<double>, double>> MapModel::residuals(
    std::size_t objective) const {
  std::vector<std::pair<std::vector<double>, double>> result;
  for (const MapMeasurement& measured : measured_) {
    result.emplace_back(measured.x,
                        measured.means[objective] - surrogates_[objective].mean(measured.x));
  }
  return result;
}

// ---- what to measure next ----------------------------------------------------------------------

std::vector<PredictedPoint> MapModel::worth_verifying(std::size_t k) const {
  std::vector<PredictedPoint> points;
  for (const auto& x : verification(k, {}, 0)) points.push_back(predicted(x));
  return points;
}

bool MapModel::tried(std::span<const double> x,
                     std::span<const std::vector<double>> pending) const {
  const auto same = [&](std::span<const double> other) {
    return distance(x, other, space_.simplex()) < same_point;
  };
  return std::any_of(measured_.begin(), measured_.end(),
                     [&](const MapMeasurement& measured) { return same(measured.x); }) ||
         std::any_of(pending.begin(), pending.end(), same);
}

std::vector<std::vector<double>> MapModel::verification(
    std::size_t k, std::span<const std::vector<double>> pending, std::uint64_t turn) const {
  const std::size_t m = objectives_.size();
  std::vector<double> origin = ideal_, ranges = ranges_;
  ParetoArchive archive;
  for (std::size_t i = 0; i < measured_.size(); ++i)
    archive.insert(i, minimised(measured_[i].means));
  for (std::size_t i = 0; i < archive.size(); ++i) {
    for (std::size_t o = 0; o < m; ++o) {
      const double end = origin[o] + ranges[o];
      const double y = archive.objective(i, o);
      origin[o] = std::min(origin[o], y);
      ranges[o] = std::max(end, y) - origin[o];
    }
  }
  const auto scaled = [&](std::vector<double> y) {
    for (std::size_t o = 0; o < m; ++o) y[o] = (y[o] - origin[o]) / ranges[o];
    return y;
  };
  HypervolumeGain volume(m, reference_for(archive.size() + pending.size() + k, m),
                         mix64(seed_, gain_stream));
  for (std::size_t i = 0; i < archive.size(); ++i) volume.add(scaled(archive.objectives(i)));
  for (const auto& x : pending) volume.add(scaled(solver_->objectives(x)));

  std::vector<std::vector<double>> asked(pending.begin(), pending.end()), chosen;
  for (std::size_t i = 0; i < k; ++i, ++turn) {
    Rng rng(seed_, draw_stream, static_cast<std::uint32_t>(turn));
    std::vector<std::vector<double>> directions(fresh_directions, std::vector<double>(m));
    for (auto& direction : directions) {
      for (double& share : direction) share = -std::log1p(-rng.uniform());
      const double sum = std::accumulate(direction.begin(), direction.end(), 0.0);
      for (double& share : direction) share /= sum;
    }
    std::vector<std::vector<QuadraticSurrogate>> drawn;
    if (paper_) drawn.push_back(surrogates_);
    while (drawn.size() < draws && !paper_) {
      drawn.emplace_back();
      for (const QuadraticSurrogate& surrogate : surrogates_) {
        drawn.back().push_back(surrogate.draw(rng));
      }
    }
    std::vector<SolverPoint> candidates = front_;
    if (!paper_) {
      const auto append = [&](const FrontSolver& solver) {
        for (SolverPoint& p : solver.front(directions)) candidates.push_back(std::move(p));
      };
      std::vector<std::vector<double>> seeds;
      for (const SolverPoint& p : front_) seeds.push_back(p.x);
      append(*solver_);
      append({drawn.front(), signs_, domain_, seeds,
              [this](std::span<const double> x) { return allowed(x); }});
    }
    const SolverPoint* best = nullptr;
    double most = 0;
    for (const SolverPoint& candidate : candidates) {
      if (tried(candidate.x, asked)) continue;
      double gain = 0;
      for (std::size_t d = 0; d < drawn.size(); ++d) {
        std::vector<double> means;
        for (const QuadraticSurrogate& model : drawn[d]) means.push_back(model.mean(candidate.x));
        gain += volume.gain(scaled(minimised(means)), d, drawn.size());
      }
      if (!(gain > most)) continue;
      most = gain;
      best = &candidate;
    }
    std::vector<double> x = best != nullptr ? best->x : least_sure(asked, turn);
    if (x.empty()) break;
    volume.add(scaled(solver_->objectives(x)));
    asked.push_back(x);
    chosen.push_back(std::move(x));
  }
  return chosen;
}

std::vector<double> MapModel::least_sure(std::span<const std::vector<double>> pending,
                                         std::uint64_t turn) const {
  Rng rng(seed_, draw_stream + 10, static_cast<std::uint32_t>(turn));
  std::vector<double> best;
  double most = -1;
  for (int draw = 0; draw < 500; ++draw) {
    std::vector<double> x(space_.dimension());
    if (space_.simplex()) {
      x = space_.space().sample(rng);
    } else {
      for (std::size_t d = 0; d < x.size(); ++d)
        x[d] = rng.uniform(domain_.low[d], domain_.high[d]);
    }
    if (tried(x, pending) || feasibility_.probability(x) < 0.5) continue;
    double sum = 0;
    for (std::size_t k = 0; k < surrogates_.size(); ++k) {
      sum += surrogates_[k].predict(x).sd / ranges_[k];
    }
    // Pending points will have told by then.
    double alone = infinity;
    for (const auto& other : pending) {
      alone = std::min(alone, distance(x, other, space_.simplex()));
    }
    sum *= std::min(1.0, 4 * alone);
    if (sum <= most) continue;
    most = sum;
    best = x;
  }
  return best;
}

}  // namespace paretod
