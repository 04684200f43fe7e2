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
  // As wide as the doubles, so that comparisons stay in their lanes.
  constexpr std::size_t block = 128;
  std::int64_t misses[block];
  for (std::size_t at = begin; at < end; at += block) {
    const std::size_t count = std::min(block, end - at);
    std::int64_t all_miss = -1;
    for (std::size_t k = 1; k < columns.size(); ++k) {
      const double* column = columns[k].data() + at;
      const double limit = point[k];
      all_miss = -1;
      for (std::size_t i = 0; i < count; ++i) {
        const std::int64_t earlier = k > 1 ? misses[i] : 0;
        misses[i] = earlier | -static_cast<std::int64_t>(!compare(column[i], limit));
        all_miss &= misses[i];
      }
    }
    if (columns.size() > 1 && all_miss != 0) continue;
    for (std::size_t i = 0; i < count; ++i) {
      if (columns.size() == 1 || misses[i] == 0) return at + i;
    }
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

// ---- the archive -------------------------------------------------------------------------------

void ParetoArchive::Staircase::insert(double x, double y) {
  const auto place = std::lower_bound(x_.begin(), x_.end(), x) - x_.begin();
  for (auto [numbers, value] : {std::pair{&x_, x}, {&y_, y}, {&least_, y}, {&most_, y}}) {
    numbers->insert(numbers->begin() + place, value);
  }
  extend(static_cast<std::size_t>(place), static_cast<std::size_t>(place) + 1);
}

void ParetoArchive::Staircase::erase(double x, double y) {
  auto place = std::lower_bound(x_.begin(), x_.end(), x) - x_.begin();
  while (place < std::ssize(y_) && y_[static_cast<std::size_t>(place)] != y) ++place;
  if (place == std::ssize(y_)) return;  // not a number: it is nowhere
  for (auto* numbers : {&x_, &y_, &least_, &most_}) numbers->erase(numbers->begin() + place);
  extend(static_cast<std::size_t>(place), static_cast<std::size_t>(place));
}

/// After what is in [from, to) has changed.
void ParetoArchive::Staircase::extend(std::size_t from, std::size_t to) {
  for (std::size_t i = from; i < y_.size(); ++i) {
    least_[i] = i == 0 ? y_[i] : std::min(least_[i - 1], y_[i]);
  }
  for (std::size_t i = to; i-- > 0;) {
    most_[i] = i + 1 == y_.size() ? y_[i] : std::max(most_[i + 1], y_[i]);
  }
}

bool ParetoArchive::Staircase::reaches_below(double x, double y) const {
  const auto end = std::upper_bound(x_.begin(), x_.end(), x) - x_.begin();
  return end > 0 && least_[static_cast<std::size_t>(end) - 1] <= y;
}

bool ParetoArchive::Staircase::reaches_above(double x, double y) const {
  const auto begin = std::lower_bound(x_.begin(), x_.end(), x) - x_.begin();
  return begin < std::ssize(x_) && most_[static_cast<std::size_t>(begin)] >= y;
}

std::vector<double> ParetoArchive::Chunk::objectives(std::size_t i) const {
  std::vector<double> values;
  values.reserve(columns.size());
  for (const auto& column : columns) values.push_back(column[i]);
  return values;
}

void ParetoArchive::Chunk::insert(std::size_t i, std::uint64_t id, std::span<const double> point) {
  const auto at = static_cast<std::ptrdiff_t>(i);
  ids.insert(ids.begin() + at, id);
  columns.resize(point.size());
  for (std::size_t k = 0; k < point.size(); ++k) {
    columns[k].insert(columns[k].begin() + at, point[k]);
  }
  if (point.size() == 3) rest.insert(point[1], point[2]);
}

void ParetoArchive::Chunk::erase(std::size_t i) {
  const auto at = static_cast<std::ptrdiff_t>(i);
  if (columns.size() == 3) rest.erase(columns[1][i], columns[2][i]);
  ids.erase(ids.begin() + at);
  for (auto& column : columns) column.erase(column.begin() + at);
}

ParetoArchive::Chunk ParetoArchive::Chunk::split(std::size_t i) {
  const auto at = static_cast<std::ptrdiff_t>(i);
  Chunk upper{{ids.begin() + at, ids.end()}, {}, {}};
  ids.resize(i);
  for (auto& column : columns) {
    upper.columns.emplace_back(column.begin() + at, column.end());
    column.resize(i);
  }
  if (columns.size() != 3) return upper;
  rest = {};
  for (Chunk* half : {this, &upper}) {
    for (std::size_t k = 0; k < half->size(); ++k) {
      half->rest.insert(half->columns[1][k], half->columns[2][k]);
    }
  }
  return upper;
}

ParetoArchive::Place ParetoArchive::place_of(std::size_t member) const {
  std::size_t chunk = 0;
  for (; member >= chunks_[chunk].size(); ++chunk) member -= chunks_[chunk].size();
  return {chunk, member};
}

ParetoArchive::Place ParetoArchive::first_not_less(double value) const {
  const auto chunk =
      std::partition_point(chunks_.begin(), chunks_.end(),
                           [value](const Chunk& other) { return other.columns[0].back() < value; });
  if (chunk == chunks_.end()) return {chunks_.size(), 0};
  const auto& first = chunk->columns[0];
  const auto member = std::lower_bound(first.begin(), first.end(), value);
  return {static_cast<std::size_t>(chunk - chunks_.begin()),
          static_cast<std::size_t>(member - first.begin())};
}

ParetoArchive::Place ParetoArchive::first_greater(double value) const {
  const auto chunk = std::partition_point(
      chunks_.begin(), chunks_.end(),
      [value](const Chunk& other) { return other.columns[0].back() <= value; });
  if (chunk == chunks_.end()) return {chunks_.size(), 0};
  const auto& first = chunk->columns[0];
  const auto member = std::upper_bound(first.begin(), first.end(), value);
  return {static_cast<std::size_t>(chunk - chunks_.begin()),
          static_cast<std::size_t>(member - first.begin())};
}

bool ParetoArchive::covers(std::span<const double> point) const {
  const Place end = first_greater(point[0]);
  if (end.chunk == 0 && end.offset == 0) return false;
  if (point.size() <= 2) {
    // The second objective falls from member to member: the last one is the best.
    const Chunk& chunk = chunks_[end.offset > 0 ? end.chunk : end.chunk - 1];
    const std::size_t last = (end.offset > 0 ? end.offset : chunk.size()) - 1;
    return point.size() == 1 || chunk.columns[1][last] <= point[1];
  }
  for (std::size_t c = 0; c <= end.chunk && c < chunks_.size(); ++c) {
    const std::size_t members = c < end.chunk ? chunks_[c].size() : end.offset;
    if (point.size() == 3 && !chunks_[c].rest.reaches_below(point[1], point[2])) continue;
    if (find_member(chunks_[c].columns, 0, members, point, std::less_equal<>()) < members) {
      return true;
    }
  }
  return false;
}

void ParetoArchive::erase_covered_by(std::span<const double> point) {
  for (Place at = first_not_less(point[0]); at.chunk < chunks_.size();) {
    Chunk& chunk = chunks_[at.chunk];
    if (point.size() == 3 && !chunk.rest.reaches_above(point[1], point[2])) {
      at = {at.chunk + 1, 0};
      continue;
    }
    // Of two objectives, those covered follow each other.
    const std::size_t end = point.size() <= 2 ? at.offset + 1 : chunk.size();
    const std::size_t found =
        find_member(chunk.columns, at.offset, end, point, std::greater_equal<>());
    if (found == end) {
      if (point.size() <= 2) return;
      at = {at.chunk + 1, 0};
      continue;
    }
    chunk.erase(found);
    --size_;
    at.offset = found;
    if (found < chunk.size()) continue;
    if (chunk.size() == 0) {
      chunks_.erase(chunks_.begin() + static_cast<std::ptrdiff_t>(at.chunk));
    } else {
      ++at.chunk;
    }
    at.offset = 0;
  }
}

void ParetoArchive::insert_at(Place place, std::uint64_t id, std::span<const double> point) {
  constexpr std::size_t largest_chunk = 512;
  if (chunks_.empty()) chunks_.emplace_back();
  if (place.chunk == chunks_.size()) place = {place.chunk - 1, chunks_.back().size()};
  Chunk& chunk = chunks_[place.chunk];
  chunk.insert(place.offset, id, point);
  ++size_;
  if (chunk.size() <= largest_chunk) return;
  Chunk upper = chunk.split(chunk.size() / 2);
  chunks_.insert(chunks_.begin() + static_cast<std::ptrdiff_t>(place.chunk) + 1, std::move(upper));
}

bool ParetoArchive::insert(std::uint64_t id, std::span<const double> point) {
  if (covers(point)) return false;
  erase_covered_by(point);
  Place place = first_not_less(point[0]);
  const std::vector<double> own(point.begin(), point.end());
  while (place.chunk < chunks_.size() && chunks_[place.chunk].columns[0][place.offset] == own[0] &&
         chunks_[place.chunk].objectives(place.offset) < own) {
    if (++place.offset == chunks_[place.chunk].size()) place = {place.chunk + 1, 0};
  }
  insert_at(place, id, point);
  return true;
}

std::uint64_t ParetoArchive::id(std::size_t member) const {
  const Place place = place_of(member);
  return chunks_[place.chunk].ids[place.offset];
}

double ParetoArchive::objective(std::size_t member, std::size_t k) const {
  const Place place = place_of(member);
  return chunks_[place.chunk].columns[k][place.offset];
}

std::vector<double> ParetoArchive::objectives(std::size_t member) const {
  const Place place = place_of(member);
  return chunks_[place.chunk].objectives(place.offset);
}

std::vector<std::vector<double>> ParetoArchive::all_objectives() const {
  std::vector<std::vector<double>> all;
  all.reserve(size());
  for (const Chunk& chunk : chunks_) {
    for (std::size_t i = 0; i < chunk.size(); ++i) all.push_back(chunk.objectives(i));
  }
  return all;
}

bool ParetoArchive::contains(std::uint64_t id) const {
  return std::any_of(chunks_.begin(), chunks_.end(), [id](const Chunk& chunk) {
    return std::find(chunk.ids.begin(), chunk.ids.end(), id) != chunk.ids.end();
  });
}

void ParetoArchive::clear() {
  chunks_.clear();
  size_ = 0;
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
