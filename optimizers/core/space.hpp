#pragma once
// The search space: an ordered list of typed parameters.  A Point holds the *free* coordinates of
// all parameters in order, as doubles, so that every optimizer sees one flat vector; an affine
// parameter of K coefficients contributes K-1 of them, since its coefficients sum to one.
//
// Points have one canonical form: what repair() returns.  Parameters that are not active (their
// condition does not hold) rest at fixed coordinates, schedules are sorted, and so on, so that two
// points mean the same exactly when their bits are the same.
//
// Everything here is immutable after construction and may be read from any thread.

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "optimizers/core/parameter.hpp"
#include "optimizers/core/result.hpp"
#include "optimizers/core/rng.hpp"

namespace paretod {

using Point = std::vector<double>;

/// Equal for points of equal bits.
std::uint64_t hash_of(const Point& point, std::uint64_t seed = 0);

class SearchSpace {
 public:
  SearchSpace() = default;
  /// Checks every parameter; problems point below `pointer` ("/space/2/low").
  static Result<SearchSpace> make(std::vector<Parameter> parameters,
                                  const std::string& pointer = "/space");

  [[nodiscard]] const std::vector<Parameter>& parameters() const { return parameters_; }
  [[nodiscard]] std::size_t dimension() const { return coordinates_.size(); }
  [[nodiscard]] const std::vector<Coordinate>& coordinates() const { return coordinates_; }
  /// First coordinate of parameter i.
  [[nodiscard]] std::size_t offset(std::size_t parameter) const { return offsets_[parameter]; }

  /// Coordinates of parameter i.
  [[nodiscard]] std::size_t width(std::size_t parameter) const { return widths_[parameter]; }
  /// Every parameter at the middle of its values.  Those that are not active stay there.
  [[nodiscard]] const Point& resting() const { return resting_; }
  /// Whether the parameter's condition, and those of the parameters it depends on, hold.
  [[nodiscard]] bool active(std::size_t parameter, const Point& point) const;
  [[nodiscard]] bool has_conditions() const { return has_conditions_; }

  /// Empty when the point is valid and canonical.
  [[nodiscard]] Problems validate(const Point& point, const std::string& pointer = "") const;
  /// The nearest valid point, in canonical form.
  [[nodiscard]] Point repair(Point point) const;
  /// Uniform within the sampling box (log-uniform where the parameter says so), canonical.
  [[nodiscard]] Point sample(Rng& rng) const;

  /// From the unit cube, one number in [0, 1) per coordinate, evenly over the sampling box where a
  /// coordinate stands for itself; canonical.
  [[nodiscard]] Point from_unit(std::span<const double> unit) const;

  /// All K coefficients of an affine parameter, in column order.
  [[nodiscard]] std::vector<double> coefficients(std::size_t parameter, const Point& point) const;
  /// The inverse: writes the K-1 free coordinates of the parameter into `point`.
  void set_coefficients(std::size_t parameter, const std::vector<double>& coefficients,
                        Point& point) const;

 private:
  [[nodiscard]] std::span<const Coordinate> coordinates_at(std::size_t parameter) const {
    return std::span(coordinates_).subspan(offsets_[parameter], widths_[parameter]);
  }

  std::vector<Parameter> parameters_;
  std::vector<std::size_t> offsets_;
  std::vector<std::size_t> widths_;
  std::vector<std::optional<std::size_t>> parents_;  ///< the parameter that `when` is about
  std::vector<Coordinate> coordinates_;
  Point resting_;  ///< coordinates of parameters while they are not active
  bool has_conditions_ = false;
};

}  // namespace paretod
