#pragma once
// Everything an LCSC search has measured, in order of its mean score.  Append-only: selection is
// truncation, nothing is deleted (research/lcsc.md, section 2b).

#include <cstddef>
#include <cstdint>
#include <optional>
#include <set>
#include <utility>
#include <vector>

#include "optimizers/core/space.hpp"

namespace paretod {

/// Length of the whole coefficient vector, the implied coefficient included.
double coefficient_norm(const Point& point);
/// Squared distance of two whole coefficient vectors.
double squared_distance(const Point& a, const Point& b);

class LcscArchive {
 public:
  /// Returns the number of the new entry: 0, 1, 2, ...
  std::size_t add(Point point);
  [[nodiscard]] std::size_t size() const { return entries_.size(); }
  [[nodiscard]] const Point& point(std::size_t entry) const { return entries_[entry].point; }
  [[nodiscard]] bool contains(const Point& point) const;

  /// One score of an entry on one replicate, at most once per pair; the score is finite.
  void report(std::size_t entry, std::uint64_t replicate, double score);

  /// Noise that a replicate adds to every point alike, estimated from the `anchors`: entries that
  /// were measured on replicates 0 to `replicates`-1 *without regard to their scores*.  Had the
  /// elites been used, their luck on replicate 0 would pass for an offset.  Returns false when
  /// every anchor scored the same on all of them: the metric is deterministic.
  bool calibrate(const std::vector<std::size_t>& anchors, std::uint64_t replicates);
  /// From now on adds weight * |coefficients - centre|^2 to every score.
  void penalise(double weight, Point centre);
  [[nodiscard]] double penalty(const Point& point) const;

  /// Entries with a score, best first: mean, then more replicates, then age.
  [[nodiscard]] const std::vector<std::size_t>& ranking() const { return ranking_; }
  /// Mean over its replicates, offsets removed, penalty included.  Requires a score.
  [[nodiscard]] double mean(std::size_t entry) const { return entries_[entry].mean; }
  /// Its score on one replicate as it counts towards the mean, if it has one.
  [[nodiscard]] std::optional<double> score(std::size_t entry, std::uint64_t replicate) const;
  /// One score as it counts towards the mean.
  [[nodiscard]] double adjusted(const Point& point, std::uint64_t replicate, double score) const;

 private:
  struct Entry {
    Point point;
    std::vector<std::pair<std::uint64_t, double>> scores;
    double mean;
  };
  [[nodiscard]] bool before(std::size_t a, std::size_t b) const;
  void refresh(Entry& entry) const;
  void rank_all();

  std::vector<Entry> entries_;
  std::set<std::uint64_t> hashes_;  // of the points
  std::vector<std::size_t> ranking_;
  std::vector<double> offsets_;  // per replicate; none means 0
  double weight_ = 0;
  Point centre_;
};

}  // namespace paretod
