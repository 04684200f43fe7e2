#include "optimizers/core/front.hpp"

#include <algorithm>
#include <functional>
#include <limits>
#include <map>
#include <numeric>
#include <utility>

namespace paretod {
namespace {

/// The first member in [begin, end) for which `compare` (<= or >=) holds against the point in all
/// columns but the first; `end` if none.  In blocks, so that the inner loop has no branch and can
/// end early.
template <class Compare>
std::size_t find_member(const std::vector<std::vector<double>>& columns, std::size_t begin,
                        std::size_t end, std::span<const double> point, Compare compare) {
  constexpr std::size_t block = 256;
  unsigned char holds[block];
  for (std::size_t at = begin; at < end; at += block) {
    const std::size_t count = std::min(block, end - at);
    std::fill_n(holds, count, static_cast<unsigned char>(1));
    for (std::size_t k = 1; k < columns.size(); ++k) {
      const double* column = columns[k].data() + at;
      const double limit = point[k];
      for (std::size_t i = 0; i < count; ++i) {
        holds[i] = static_cast<unsigned char>(holds[i] & compare(column[i], limit));
      }
    }
    const auto* found = std::find(holds, holds + count, 1);
    if (found != holds + count) return at + static_cast<std::size_t>(found - holds);
  }
  return end;
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

/// Upwards along the third objective, over the staircase of the first two.
double sweep_three(std::vector<std::vector<double>>& points, const std::vector<double>& reference) {
  std::sort(points.begin(), points.end(), [](const auto& a, const auto& b) { return a[2] < b[2]; });
  constexpr double infinity = std::numeric_limits<double>::infinity();
  std::map<double, double> steps{{-infinity, reference[1]}, {reference[0], -infinity}};
  double area = 0;
  double volume = 0;
  double height = 0;
  for (const auto& point : points) {
    volume += area * (point[2] - height);
    height = point[2];
    auto next = steps.upper_bound(point[0]);
    const auto before = std::prev(next);
    if (before->second <= point[1]) continue;
    double ceiling = before->second;
    double left = point[0];
    if (before->first == point[0]) steps.erase(before);
    while (next->second >= point[1]) {
      area += (next->first - left) * (ceiling - point[1]);
      left = next->first;
      ceiling = next->second;
      next = steps.erase(next);
    }
    area += (next->first - left) * (ceiling - point[1]);
    steps.emplace_hint(next, point[0], point[1]);
  }
  return volume + area * (reference[2] - height);
}

/// Slices along the last objective; each slab is the hypervolume of the points below it in one
/// dimension less.
double slice(std::vector<std::vector<double>> points, const std::vector<double>& reference) {
  const std::size_t dimensions = reference.size();
  if (points.empty()) return 0;
  if (dimensions == 1) {
    double best = reference[0];
    for (const auto& point : points) best = std::min(best, point[0]);
    return reference[0] - best;
  }
  if (dimensions == 2) return sweep_two(points, reference);
  if (dimensions == 3) return sweep_three(points, reference);
  const std::size_t last = dimensions - 1;
  std::sort(points.begin(), points.end(),
            [last](const auto& a, const auto& b) { return a[last] < b[last]; });
  const std::vector<double> lower(reference.begin(), reference.end() - 1);
  std::vector<std::vector<double>> below;
  double volume = 0;
  for (std::size_t i = 0; i < points.size(); ++i) {
    const std::vector<double> projected(points[i].begin(), points[i].end() - 1);
    const auto covered = [&](const auto& other) {
      return std::equal(other.begin(), other.end(), projected.begin(), std::less_equal<>());
    };
    if (std::none_of(below.begin(), below.end(), covered)) {
      std::erase_if(below, [&](const auto& other) { return dominates(projected, other); });
      below.push_back(projected);
    }
    const double top = i + 1 < points.size() ? points[i + 1][last] : reference[last];
    if (top > points[i][last]) volume += slice(below, lower) * (top - points[i][last]);
  }
  return volume;
}

}  // namespace

bool dominates(std::span<const double> a, std::span<const double> b) {
  bool better = false;
  for (std::size_t i = 0; i < a.size(); ++i) {
    if (a[i] > b[i]) return false;
    better = better || a[i] < b[i];
  }
  return better;
}

bool ParetoArchive::covers(std::span<const double> point) const {
  if (empty()) return false;
  const auto& first = columns_[0];
  const auto end = static_cast<std::size_t>(std::upper_bound(first.begin(), first.end(), point[0]) -
                                            first.begin());
  // Of two objectives, the second falls from member to member.
  const std::size_t begin = columns_.size() <= 2 && end > 0 ? end - 1 : 0;
  return find_member(columns_, begin, end, point, std::less_equal<>()) < end;
}

bool ParetoArchive::contains(std::uint64_t id) const {
  return std::find(ids_.begin(), ids_.end(), id) != ids_.end();
}

bool ParetoArchive::insert(std::uint64_t id, std::span<const double> point) {
  if (columns_.empty()) columns_.resize(point.size());
  if (covers(point)) return false;
  const auto& first = columns_[0];
  const auto begin = static_cast<std::size_t>(
      std::lower_bound(first.begin(), first.end(), point[0]) - first.begin());
  std::size_t place = begin;
  if (columns_.size() <= 2) {
    std::size_t end = begin;
    while (end < size() && (columns_.size() == 1 || columns_[1][end] >= point[1])) ++end;
    erase(begin, end);
  } else {
    for (std::size_t i = begin;;) {
      i = find_member(columns_, i, size(), point, std::greater_equal<>());
      if (i == size()) break;
      erase(i, i + 1);
    }
    const std::vector<double> own(point.begin(), point.end());
    while (place < size() && first[place] == point[0] && objectives(place) < own) ++place;
  }
  const auto at = static_cast<std::ptrdiff_t>(place);
  ids_.insert(ids_.begin() + at, id);
  for (std::size_t k = 0; k < columns_.size(); ++k) {
    columns_[k].insert(columns_[k].begin() + at, point[k]);
  }
  return true;
}

void ParetoArchive::erase(std::size_t first, std::size_t last) {
  const auto a = static_cast<std::ptrdiff_t>(first);
  const auto b = static_cast<std::ptrdiff_t>(last);
  ids_.erase(ids_.begin() + a, ids_.begin() + b);
  for (auto& column : columns_) column.erase(column.begin() + a, column.begin() + b);
}

std::vector<double> ParetoArchive::objectives(std::size_t member) const {
  std::vector<double> values;
  values.reserve(columns_.size());
  for (const auto& column : columns_) values.push_back(column[member]);
  return values;
}

std::vector<std::vector<double>> ParetoArchive::all_objectives() const {
  std::vector<std::vector<double>> all;
  all.reserve(size());
  for (std::size_t i = 0; i < size(); ++i) all.push_back(objectives(i));
  return all;
}

void ParetoArchive::clear() {
  ids_.clear();
  columns_.clear();
}

double hypervolume(std::vector<std::vector<double>> points, const std::vector<double>& reference) {
  std::erase_if(points, [&](const auto& point) {
    return !std::equal(point.begin(), point.end(), reference.begin(), std::less<>());
  });
  return slice(std::move(points), reference);
}

std::vector<double> crowding_distances(const std::vector<std::vector<double>>& points) {
  std::vector<double> distances(points.size(), 0.0);
  if (points.empty()) return distances;
  std::vector<std::size_t> order(points.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  for (std::size_t k = 0; k < points[0].size(); ++k) {
    std::stable_sort(order.begin(), order.end(),
                     [&](std::size_t a, std::size_t b) { return points[a][k] < points[b][k]; });
    const double range = points[order.back()][k] - points[order.front()][k];
    distances[order.front()] = distances[order.back()] = std::numeric_limits<double>::infinity();
    if (!(range > 0)) continue;
    for (std::size_t i = 1; i + 1 < order.size(); ++i) {
      distances[order[i]] += (points[order[i + 1]][k] - points[order[i - 1]][k]) / range;
    }
  }
  return distances;
}

}  // namespace paretod
