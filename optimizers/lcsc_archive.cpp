#include "optimizers/lcsc_archive.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <utility>

#include "optimizers/core/rng.hpp"

namespace paretod {
namespace {

std::uint64_t hash(const Point& point) {
  std::uint64_t value = point.size();
  for (const double x : point) value = mix64(value, std::bit_cast<std::uint64_t>(x));
  return value;
}

}  // namespace

double coefficient_norm(const Point& point) {
  double squares = 0;
  double rest = 1;
  for (const double x : point) {
    squares += x * x;
    rest -= x;
  }
  return std::sqrt(squares + rest * rest);
}

double squared_distance(const Point& a, const Point& b) {
  double squares = 0;
  double rest = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    const double d = a[i] - b[i];
    squares += d * d;
    rest -= d;
  }
  return squares + rest * rest;
}

std::size_t LcscArchive::add(Point point) {
  hashes_.insert(hash(point));
  entries_.push_back({std::move(point), {}, 0});
  return entries_.size() - 1;
}

bool LcscArchive::contains(const Point& point) const {
  return hashes_.contains(hash(point));
}

void LcscArchive::report(std::size_t number, std::uint64_t replicate, double score) {
  const auto order = [this](std::size_t a, std::size_t b) { return before(a, b); };
  Entry& entry = entries_[number];
  if (!entry.scores.empty()) {
    ranking_.erase(std::lower_bound(ranking_.begin(), ranking_.end(), number, order));
  }
  entry.scores.emplace_back(replicate, score);
  refresh(entry);
  ranking_.insert(std::lower_bound(ranking_.begin(), ranking_.end(), number, order), number);
}

bool LcscArchive::calibrate(const std::vector<std::size_t>& anchors, std::uint64_t replicates) {
  offsets_.clear();
  std::vector<double> offsets(static_cast<std::size_t>(replicates), 0.0);
  std::size_t compared = 0;
  bool varies = false;
  for (std::uint64_t r = 1; r < replicates; ++r) {
    double sum = 0;
    std::size_t count = 0;
    for (const std::size_t anchor : anchors) {
      const std::optional<double> here = score(anchor, r);
      const std::optional<double> zero = score(anchor, 0);
      if (!here || !zero) continue;
      varies = varies || *here != *zero;
      sum += *here - *zero;
      ++count;
    }
    compared += count;
    if (count > 0) offsets[static_cast<std::size_t>(r)] = sum / static_cast<double>(count);
  }
  offsets_ = std::move(offsets);
  rank_all();
  return varies || compared == 0;
}

void LcscArchive::penalise(double weight, Point centre) {
  weight_ = weight;
  centre_ = std::move(centre);
  rank_all();
}

double LcscArchive::penalty(const Point& point) const {
  return weight_ > 0 ? weight_ * squared_distance(point, centre_) : 0;
}

std::optional<double> LcscArchive::score(std::size_t entry, std::uint64_t replicate) const {
  for (const auto& [r, score] : entries_[entry].scores) {
    if (r == replicate) return adjusted(entries_[entry].point, r, score);
  }
  return std::nullopt;
}

double LcscArchive::adjusted(const Point& point, std::uint64_t replicate, double score) const {
  const double offset =
      replicate < offsets_.size() ? offsets_[static_cast<std::size_t>(replicate)] : 0;
  return score - offset + penalty(point);
}

bool LcscArchive::before(std::size_t a, std::size_t b) const {
  const Entry& x = entries_[a];
  const Entry& y = entries_[b];
  if (x.mean != y.mean) return x.mean < y.mean;
  if (x.scores.size() != y.scores.size()) return x.scores.size() > y.scores.size();
  return a < b;
}

void LcscArchive::refresh(Entry& entry) const {
  double sum = 0;
  for (const auto& [replicate, score] : entry.scores) {
    sum += adjusted(entry.point, replicate, score);
  }
  entry.mean = sum / static_cast<double>(entry.scores.size());
}

void LcscArchive::rank_all() {
  for (const std::size_t entry : ranking_) refresh(entries_[entry]);
  std::sort(ranking_.begin(), ranking_.end(),
            [this](std::size_t a, std::size_t b) { return before(a, b); });
}

}  // namespace paretod
