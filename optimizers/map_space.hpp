#pragma once
// The coordinates in which MAP fits and searches: a box of real parameters scaled to [-1, 1]^n
// (logarithms first where a parameter is searched on a log scale), or the shares of one simplex
// parameter as they are.  A plain value; any thread.

#include <cstddef>
#include <span>
#include <vector>

#include "optimizers/core/result.hpp"
#include "optimizers/core/space.hpp"

namespace paretod {

class MapSpace {
 public:
  static constexpr std::size_t most_dimensions = 12;

  /// What keeps MAP from the space; problems point below "/space".
  static Problems check(const SearchSpace& space);

  /// Requires check() to find nothing.
  explicit MapSpace(const SearchSpace& space);

  [[nodiscard]] std::size_t dimension() const { return space_.dimension(); }
  [[nodiscard]] bool simplex() const { return simplex_; }
  [[nodiscard]] const SearchSpace& space() const { return space_; }

  [[nodiscard]] std::vector<double> scaled(const Point& point) const;
  /// Valid and canonical.
  [[nodiscard]] Point point(std::span<const double> x) const;
  /// From the unit cube, evenly.
  [[nodiscard]] std::vector<double> from_unit(std::span<const double> unit) const;

  /// The points that the method needs measured wherever they are inside: the origin (nothing
  /// merged) and the unit vectors (one source alone); of a simplex its vertices.
  [[nodiscard]] std::vector<std::vector<double>> anchors() const;

 private:
  SearchSpace space_;
  bool simplex_ = false;
};

}  // namespace paretod
