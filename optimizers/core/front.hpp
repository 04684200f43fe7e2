#pragma once
// The Pareto front as a fold over outcomes: an archive of non-dominated points, kept up to date
// one insertion at a time.  Not thread-safe; its owner locks.

#include <cstddef>
#include <cstdint>
#include <vector>

#include "optimizers/core/trial.hpp"

namespace paretod {

/// a dominates b: no objective worse, one better; all minimised.
bool dominates(const std::vector<double>& a, const std::vector<double>& b);

/// Members carry an id of the owner's choosing and minimised, finite objectives.  Among equal
/// objective vectors the first stays.
class ParetoArchive {
 public:
  struct Member {
    std::uint64_t id;
    std::vector<double> objectives;
  };

  /// True when the point entered the front.  O(front) in general, O(log front) plus removals for
  /// one and two objectives.
  bool insert(std::uint64_t id, std::vector<double> objectives);
  /// Sorted by the objectives in order.
  [[nodiscard]] const std::vector<Member>& members() const { return members_; }
  void clear() { members_.clear(); }

 private:
  std::vector<Member> members_;  // sorted lexicographically
};

/// Hypervolume dominated by `points` within `reference` (all minimised): exact for any number of
/// objectives (sweep in two dimensions, recursive slicing above).
double hypervolume(std::vector<std::vector<double>> points, const std::vector<double>& reference);

}  // namespace paretod
