#pragma once
// The Pareto front as a fold over outcomes: an archive of non-dominated points, kept up to date
// one insertion at a time, and the volume that a front dominates.  Not thread-safe; the owner
// locks.

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace paretod {

/// a dominates b: no objective worse, one better; all minimised.
bool dominates(std::span<const double> a, std::span<const double> b);

/// Members carry an id of the owner's choosing and minimised, finite objectives, always equally
/// many.  Among equal objective vectors the first stays.  Members are sorted by the objectives in
/// order.
class ParetoArchive {
 public:
  /// True when the point entered the front.  O(log front) plus removals for one and two
  /// objectives; above, one pass over the members, column by column, and one move of those behind
  /// the new one.
  bool insert(std::uint64_t id, std::span<const double> objectives);

  [[nodiscard]] std::size_t size() const { return ids_.size(); }
  [[nodiscard]] bool empty() const { return ids_.empty(); }
  [[nodiscard]] std::uint64_t id(std::size_t member) const { return ids_[member]; }
  /// Whether the id is a member's; O(front).
  [[nodiscard]] bool contains(std::uint64_t id) const;
  [[nodiscard]] double objective(std::size_t member, std::size_t k) const {
    return columns_[k][member];
  }
  [[nodiscard]] std::vector<double> objectives(std::size_t member) const;
  [[nodiscard]] std::vector<std::vector<double>> all_objectives() const;
  /// Whether some member is nowhere worse than the point.
  [[nodiscard]] bool covers(std::span<const double> objectives) const;
  void clear();

 private:
  void erase(std::size_t first, std::size_t last);

  std::vector<std::uint64_t> ids_;
  std::vector<std::vector<double>> columns_;  ///< one per objective
};

/// Hypervolume dominated by `points` within `reference` (all minimised), exact: a sweep for two
/// and three objectives (Beume et al., IEEE TEC 13(5), 2009: n log n), slices of it above.
double hypervolume(std::vector<std::vector<double>> points, const std::vector<double>& reference);

/// Crowding distance of each of a set of points (Deb et al., IEEE TEC 6(2), 2002, section III-B):
/// per objective, the gap between a point's neighbours relative to the range; infinite at the ends.
std::vector<double> crowding_distances(const std::vector<std::vector<double>>& points);

}  // namespace paretod
