#pragma once
// The search space: an ordered list of typed parameters.  A Point holds the *free* coordinates of
// all parameters in order, as doubles, so that every optimizer sees one flat vector; an affine
// parameter of K coefficients contributes K-1 of them, since its coefficients sum to one.
// Everything here is immutable after construction and may be read from any thread.

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "optimizers/core/result.hpp"
#include "optimizers/core/rng.hpp"

namespace paretod {

using Point = std::vector<double>;

enum class ParameterType {
  real,         ///< one coordinate in [low, high]; `log_scale` says how it is explored
  integer,      ///< one whole coordinate in [low, high]
  categorical,  ///< one coordinate, the index of a choice; without order
  boolean,      ///< one coordinate, 0 or 1
  affine,       ///< `size` coefficients that sum to one, of any sign (LCSC, section 1)
};

std::string_view name_of(ParameterType type);
std::optional<ParameterType> parameter_type(std::string_view name);

struct Parameter {
  std::string name;
  ParameterType type = ParameterType::real;
  double low = 0;  ///< real, integer: inclusive bound.  affine: bound of each free coefficient
  double high = 1;
  bool log_scale = false;                 ///< real only; needs low > 0
  std::vector<std::string> choices = {};  ///< categorical: at least one, distinct
  std::size_t size = 0;                   ///< affine: number of coefficients, >= 2
  /// affine, optional, one per coefficient: a name for people.
  std::vector<std::string> labels = {};
  /// affine, optional, one per coefficient: where along the training run its checkpoint was saved
  /// (iterations); empty optional for a derived column such as true EMA weights.
  std::vector<std::optional<double>> positions = {};

  /// Coordinates this parameter contributes to a Point.
  [[nodiscard]] std::size_t width() const { return type == ParameterType::affine ? size - 1 : 1; }
  /// affine: the coefficient that is implied by the others: the newest position, else the last.
  [[nodiscard]] std::size_t reference() const;
};

/// Bounds of one coordinate of a Point, and how to explore it.
struct Coordinate {
  double low;           ///< may be -infinity for affine coefficients
  double high;          ///< may be +infinity
  double sampling_low;  ///< finite: where random sampling and box-bound optimizers look
  double sampling_high;
  bool whole;  ///< only whole numbers are valid
  bool log_scale;
  bool ordered;  ///< false for categorical choices
};

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

  /// Empty when the point is valid.
  [[nodiscard]] Problems validate(const Point& point, const std::string& pointer = "") const;
  /// The nearest valid point: rounds, clamps; non-finite coordinates go to the middle.
  [[nodiscard]] Point repair(Point point) const;
  /// Uniform within the sampling box (log-uniform where the parameter says so).
  [[nodiscard]] Point sample(Rng& rng) const;

  /// All K coefficients of an affine parameter, in column order.
  [[nodiscard]] std::vector<double> coefficients(std::size_t parameter, const Point& point) const;
  /// The inverse: writes the K-1 free coordinates of the parameter into `point`.
  void set_coefficients(std::size_t parameter, const std::vector<double>& coefficients,
                        Point& point) const;

 private:
  std::vector<Parameter> parameters_;
  std::vector<std::size_t> offsets_;
  std::vector<Coordinate> coordinates_;
};

}  // namespace paretod
