#include "optimizers/core/front.hpp"

#include <algorithm>
#include <utility>

namespace paretod {
namespace {

bool weakly_dominates(const std::vector<double>& a, const std::vector<double>& b) {
  for (std::size_t i = 0; i < a.size(); ++i) {
    if (a[i] > b[i]) return false;
  }
  return true;
}

double sweep_two(std::vector<std::vector<double>>& points, const std::vector<double>& reference) {
  std::sort(points.begin(), points.end());
  double volume = 0;
  double ceiling = reference[1];
  for (const auto& point : points) {
    if (point[1] >= ceiling) continue;
    volume += (reference[0] - point[0]) * (ceiling - point[1]);
    ceiling = point[1];
  }
  return volume;
}

/// Slices along the last objective; each slab is the hypervolume of the points below it in one
/// dimension less.
double slice(std::vector<std::vector<double>> points, const std::vector<double>& reference) {
  const std::size_t dimensions = reference.size();
  if (dimensions == 1) {
    double best = reference[0];
    for (const auto& point : points) best = std::min(best, point[0]);
    return reference[0] - best;
  }
  if (dimensions == 2) return sweep_two(points, reference);
  std::sort(points.begin(), points.end(),
            [](const auto& a, const auto& b) { return a.back() < b.back(); });
  const std::vector<double> lower_reference(reference.begin(), reference.end() - 1);
  double volume = 0;
  ParetoArchive front;
  for (std::size_t i = 0; i < points.size(); ++i) {
    front.insert(i, {points[i].begin(), points[i].end() - 1});
    const double upper = i + 1 < points.size() ? points[i + 1].back() : reference.back();
    const double height = upper - points[i].back();
    if (height <= 0) continue;
    std::vector<std::vector<double>> slab;
    for (const auto& member : front.members()) slab.push_back(member.objectives);
    volume += height * slice(std::move(slab), lower_reference);
  }
  return volume;
}

}  // namespace

bool dominates(const std::vector<double>& a, const std::vector<double>& b) {
  return weakly_dominates(a, b) && a != b;
}

bool ParetoArchive::insert(std::uint64_t id, std::vector<double> objectives) {
  const auto at = std::lower_bound(
      members_.begin(), members_.end(), objectives,
      [](const Member& member, const std::vector<double>& y) { return member.objectives < y; });
  if (at != members_.end() && at->objectives == objectives) return false;
  // Whatever dominates the new point sorts before it, whatever it dominates sorts after.
  const bool planar = objectives.size() <= 2;
  if (planar) {
    // The second objective falls along a planar front, so only the neighbour can dominate ...
    if (at != members_.begin() && weakly_dominates((at - 1)->objectives, objectives)) return false;
    // ... and the dominated ones follow in one run.
    auto last = at;
    while (last != members_.end() && weakly_dominates(objectives, last->objectives)) ++last;
    const auto place = members_.erase(at, last);
    members_.insert(place, {id, std::move(objectives)});
    return true;
  }
  for (auto it = members_.begin(); it != at; ++it) {
    if (weakly_dominates(it->objectives, objectives)) return false;
  }
  const auto position = at - members_.begin();
  members_.erase(std::remove_if(at, members_.end(),
                                [&](const Member& member) {
                                  return weakly_dominates(objectives, member.objectives);
                                }),
                 members_.end());
  members_.insert(members_.begin() + position, {id, std::move(objectives)});
  return true;
}

double hypervolume(std::vector<std::vector<double>> points, const std::vector<double>& reference) {
  points.erase(std::remove_if(points.begin(), points.end(),
                              [&](const std::vector<double>& point) {
                                for (std::size_t i = 0; i < point.size(); ++i) {
                                  if (!(point[i] < reference[i])) return true;
                                }
                                return false;
                              }),
               points.end());
  return slice(std::move(points), reference);
}

}  // namespace paretod
