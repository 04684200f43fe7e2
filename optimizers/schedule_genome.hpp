#pragma once
// A sampling schedule as a search sees it: sorted steps, each with what it carries (a choice, the
// layers it drops), and what such a schedule costs.  Converts from and to the coordinates of a
// `schedule` parameter.  Plain values and pure functions.

#include <cstddef>
#include <span>
#include <vector>

#include "optimizers/core/rng.hpp"
#include "optimizers/core/space.hpp"

namespace paretod {

/// One step of a sampler: whatever happens to the others, its drops travel with it.
struct Step {
  double at = 0;
  double choice = 0;                  ///< index of a choice; 0 where there is none
  std::vector<bool> dropped = {};     ///< one per bit of the mask
  friend bool operator==(const Step&, const Step&) = default;
};
/// Sorted by `at`, distinct.
using Steps = std::vector<Step>;

/// Cost of a step: how often its choice runs the network, times what runs of the network.
struct ScheduleCosts {
  std::vector<double> layers;   ///< one per bit of the mask
  double step = 0;              ///< of what no mask drops
  std::vector<double> choices;  ///< runs of the network, one per choice
  double most = 0;              ///< of a schedule; 0: no limit

  [[nodiscard]] double of(const Step& step) const;
  [[nodiscard]] double of(const Steps& steps) const;
  /// Of a step that drops nothing, or everything, with the cheapest choice.
  [[nodiscard]] double full_step() const;
  [[nodiscard]] double least_step() const;
  [[nodiscard]] bool allows(const Steps& steps) const;
};

/// The one schedule parameter of a space.  Reads the space, which must outlive it.
class ScheduleCoding {
 public:
  ScheduleCoding(const SearchSpace& space, std::size_t parameter);

  [[nodiscard]] const Parameter& parameter() const { return space_.parameters()[index_]; }
  [[nodiscard]] std::size_t index() const { return index_; }
  [[nodiscard]] Steps decode(const Point& point) const;
  /// Writes the steps into the point, repaired: sorted, within bounds, apart.  Requires least to
  /// most of them.
  [[nodiscard]] Point encode(const Steps& steps, Point point) const;
  /// The nearest valid steps.
  [[nodiscard]] Steps repaired(const Steps& steps) const;
  /// How far the nodes reach; whole nodes fill a place each.
  [[nodiscard]] double low() const { return parameter().low; }
  [[nodiscard]] double high() const { return parameter().high; }

 private:
  const SearchSpace& space_;
  std::size_t index_;
};

/// Makes a schedule cheap enough, at random: drops layers and removes the steps that stand closest
/// to their neighbours, until the costs allow it.  Requires that `least` cheapest steps are allowed.
void fit_to_costs(const Parameter& parameter, const ScheduleCosts& costs, Steps& steps, Rng& rng);

/// The schedule with another number of steps and the same density: nodes by linear interpolation
/// over the rank, what they carry from the step nearest in rank.
Steps resampled(const Steps& steps, std::size_t count, double low, double high);

}  // namespace paretod
