#pragma once
// A search space as the plain box that pagmo searches, and back.  Fixed coordinates are left out,
// logarithmic ones are their logarithms, unbounded ones (affine) keep to their sampling box.
// Every point that comes back goes through SearchSpace::repair: so shares are projected, the
// coordinates of a permutation are random keys, those of a subset are preferences, and a schedule
// is sorted.  Standard library only; immutable after construction.

#include <cstddef>
#include <utility>
#include <vector>

#include "optimizers/core/space.hpp"

namespace paretod {

/// How whole coordinates look to the algorithm.
enum class WholeNumbers {
  native,   ///< last in the box, as integers
  relaxed,  ///< as reals, half a step wider on both sides so that rounding is fair to the ends
};

class PagmoCoding {
 public:
  /// Keeps a reference: the space outlives the coding.
  PagmoCoding(const SearchSpace& space, WholeNumbers whole_numbers);

  [[nodiscard]] std::size_t dimension() const { return order_.size(); }
  /// Coordinates at the end of the box that are integers to pagmo.
  [[nodiscard]] std::size_t whole() const { return whole_; }
  [[nodiscard]] const std::vector<double>& low() const { return low_; }
  [[nodiscard]] const std::vector<double>& high() const { return high_; }

  /// `x` has dimension() values, of any size; the point is valid.
  [[nodiscard]] Point decode(const double* x) const;
  /// Within the box, also for points that are not.
  [[nodiscard]] std::vector<double> encode(const Point& point) const;

 private:
  const SearchSpace& space_;
  std::vector<std::size_t> order_;  ///< coordinate of the space that each one of the box is
  std::vector<double> low_, high_;
  std::size_t whole_ = 0;
};

}  // namespace paretod
