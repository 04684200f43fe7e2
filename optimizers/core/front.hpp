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
  /// objectives; for three, O(sqrt front) in practice; above, one pass over the members, column by
  /// column.
  bool insert(std::uint64_t id, std::span<const double> objectives);

  [[nodiscard]] std::size_t size() const { return size_; }
  [[nodiscard]] bool empty() const { return size_ == 0; }
  /// These three cost a step per chunk of members before the one asked for.
  [[nodiscard]] std::uint64_t id(std::size_t member) const;
  [[nodiscard]] double objective(std::size_t member, std::size_t k) const;
  [[nodiscard]] std::vector<double> objectives(std::size_t member) const;
  [[nodiscard]] std::vector<std::vector<double>> all_objectives() const;
  /// Whether the id is a member's; O(front).
  [[nodiscard]] bool contains(std::uint64_t id) const;
  /// Whether some member is nowhere worse than the point.
  [[nodiscard]] bool covers(std::span<const double> objectives) const;
  void clear();

 private:
  /// Pairs of numbers, to be asked whether one of them is nowhere larger (or smaller) than another.
  class Staircase {
   public:
    void insert(double x, double y);
    void erase(double x, double y);
    [[nodiscard]] bool reaches_below(double x, double y) const;
    [[nodiscard]] bool reaches_above(double x, double y) const;

   private:
    void extend(std::size_t from, std::size_t to);

    std::vector<double> x_, y_;         ///< sorted by x
    std::vector<double> least_, most_;  ///< of the y up to here, and from here on
  };
  /// Neighbours in the order of members.  Never empty; several, so that an insertion moves few
  /// members.
  struct Chunk {
    std::vector<std::uint64_t> ids;
    std::vector<std::vector<double>> columns;  ///< one per objective
    Staircase rest;                            ///< of three objectives: the second and third

    [[nodiscard]] std::size_t size() const { return ids.size(); }
    [[nodiscard]] std::vector<double> objectives(std::size_t i) const;
    void insert(std::size_t i, std::uint64_t id, std::span<const double> point);
    void erase(std::size_t i);
    /// Takes the members from `i` on into a chunk of their own.
    Chunk split(std::size_t i);
  };
  /// A member, or {number of chunks, 0} behind the last.
  struct Place {
    std::size_t chunk = 0;
    std::size_t offset = 0;
  };
  [[nodiscard]] Place place_of(std::size_t member) const;
  /// The first member whose first objective is not less (greater) than the value.
  [[nodiscard]] Place first_not_less(double value) const;
  [[nodiscard]] Place first_greater(double value) const;
  void erase_covered_by(std::span<const double> point);
  void insert_at(Place place, std::uint64_t id, std::span<const double> point);

  std::size_t size_ = 0;
  std::vector<Chunk> chunks_;
};

/// Hypervolume dominated by `points` within `reference` (all minimised), exact: a sweep for two
/// and three objectives (Beume et al., IEEE TEC 13(5), 2009: n log n), slices of it above.
double hypervolume(std::vector<std::vector<double>> points, const std::vector<double>& reference);

/// Crowding distance of each of a set of points (Deb et al., IEEE TEC 6(2), 2002, section III-B):
/// per objective, the gap between a point's neighbours relative to the range; infinite at the ends.
std::vector<double> crowding_distances(const std::vector<std::vector<double>>& points);

}  // namespace paretod
