#pragma once
// One parameter of a search space: what its values are, how they lie in a flat vector of doubles,
// and how such a block is checked, repaired and drawn.  SearchSpace puts parameters together.
// Plain values and pure functions.

#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "optimizers/core/result.hpp"
#include "optimizers/core/rng.hpp"

namespace paretod {

enum class ParameterType {
  real,         ///< one coordinate in [low, high]; `log_scale` says how it is explored
  integer,      ///< one whole coordinate in [low, high]
  categorical,  ///< one coordinate, the index of a choice; without order
  boolean,      ///< one coordinate, 0 or 1
  affine,       ///< `size` coefficients that sum to one, of any sign (LCSC, section 1)
  simplex,      ///< `size` shares, not negative, that sum to one
  subset,       ///< `least` to `most` of the `choices`: one coordinate each, 0 or 1
  permutation,  ///< an order of the `choices`: coordinate i is the index of the one in place i
  schedule,     ///< `least` to `most` increasing nodes, each with its own mask and choice
};

std::string_view name_of(ParameterType type);
std::optional<ParameterType> parameter_type(std::string_view name);

/// Makes a parameter active only while an earlier one has one of some values.
struct Condition {
  std::string parameter;
  std::vector<double> values;  ///< as coordinates: indices of choices, 0 and 1, or whole numbers
};

struct Parameter {
  std::string name;
  ParameterType type = ParameterType::real;
  /// real, integer, schedule nodes: inclusive bounds.  affine: bounds of each free coefficient.
  double low = 0;
  double high = 1;
  bool log_scale = false;  ///< real only; needs low > 0
  /// categorical: at least one.  subset, permutation: the items.  schedule, optional: what each
  /// step chooses one of (a solver).  Distinct.
  std::vector<std::string> choices = {};
  std::size_t size = 0;  ///< affine, simplex: number of coefficients, >= 2
  /// affine, simplex, optional, one per coefficient: a name for people.
  std::vector<std::string> labels = {};
  /// affine, optional, one per coefficient: where along the training run its checkpoint was saved
  /// (iterations); empty optional for a derived column such as true EMA weights.
  std::vector<std::optional<double>> positions = {};
  std::size_t least = 0;  ///< subset, schedule: fewest items or steps; a schedule has at least 1
  std::size_t most = 0;   ///< subset, schedule: most items or steps
  bool whole = false;     ///< schedule: nodes are whole numbers
  /// schedule, optional: names of the bits that each step carries (layers to drop).
  std::vector<std::string> mask = {};
  std::optional<Condition> when = {};

  /// Coordinates this parameter contributes to a point.
  [[nodiscard]] std::size_t width() const;
  /// schedule: coordinates of one step: its node, its choice (if there are any), its mask bits.
  [[nodiscard]] std::size_t step_width() const {
    return 1 + (choices.empty() ? 0 : 1) + mask.size();
  }
  /// affine: the coefficient that is implied by the others: the newest position, else the last.
  [[nodiscard]] std::size_t reference() const;
};

/// Bounds of one coordinate, and how to explore it.
struct Coordinate {
  double low;           ///< may be -infinity for affine coefficients
  double high;          ///< may be +infinity
  double sampling_low;  ///< finite: where random sampling and box-bound optimizers look
  double sampling_high;
  bool whole;  ///< only whole numbers are valid
  bool log_scale;
  bool ordered;  ///< false for categorical choices
};

/// What is wrong with the definition; pointers below `at`.  Conditions are the space's to check.
void check_parameter(const Parameter& parameter, const std::string& at, Problems& problems);
/// One per coordinate.  The parameter is valid, here and below.
std::vector<Coordinate> coordinates_of(const Parameter& parameter);

/// A block is the width() coordinates of one parameter; `coordinates` are coordinates_of() it.
/// What is wrong with it; empty when valid.
std::string block_problem(const Parameter& parameter, std::span<const Coordinate> coordinates,
                          std::span<const double> block);
/// Makes a block valid and canonical, changing it as little as its type allows: rounds, clamps,
/// sorts, projects; not-a-number becomes the middle.  Leaves a valid block as it is.
void repair_block(const Parameter& parameter, std::span<const Coordinate> coordinates,
                  std::span<double> block);
/// Uniform over the values as far as that has a meaning for the type.
void sample_block(const Parameter& parameter, std::span<const Coordinate> coordinates,
                  std::span<double> block, Rng& rng);

/// The nearest point of the unit simplex (Duchi et al., ICML 2008, figure 1).
void project_to_simplex(std::span<double> shares);

}  // namespace paretod
