#pragma once
// Making a child of two parents in a mixed search space: each type of parameter has operators that
// keep what it means.  Numbers: simulated binary crossover and polynomial mutation within bounds
// (Deb and Agrawal, Complex Systems 9, 1995; Deb and Goyal, 1996), on the log scale where the
// parameter says so, whole numbers by rounding.  Choices and bits: uniform exchange, resampling.
// Simplex: the same blend, and mass moved between two shares.  Permutation: order crossover
// (Davis, IJCAI 1985), swaps and insertions.  Schedule: the early steps of one parent and the late
// steps of the other; steps that move, come and go.

#include <cstddef>
#include <vector>

#include "optimizers/core/rng.hpp"
#include "optimizers/core/space.hpp"

namespace paretod {

struct VariationRates {
  double crossover_probability = 1;
  double crossover_index = 15;
  double mutation_probability = 0;  ///< per coordinate; 0: one over their number
  double mutation_index = 20;
};

/// Reads the space, which must outlive it.  Safe for several threads.
class Variation {
 public:
  Variation(const SearchSpace& space, VariationRates rates);

  /// A valid child.  Parents are valid; the same parents and numbers give the same child.
  [[nodiscard]] Point child(const Point& a, const Point& b, Rng& rng) const;
  /// The same, but the parameter `kept` is left as it is in `child`, which gets the others.
  void vary_others(std::size_t kept, const Point& a, const Point& b, Point& child, Rng& rng) const;

 private:
  struct Scale {
    double low, high;  ///< encoded: logarithms on a log scale, half a step wider if whole
  };
  void cross(std::size_t parameter, const Point& a, const Point& b, Point& child, Rng& rng) const;
  void mutate(std::size_t parameter, Point& child, Rng& rng) const;
  [[nodiscard]] double encode(std::size_t i, double x) const;
  [[nodiscard]] double decode(std::size_t i, double x) const;
  [[nodiscard]] double blend(std::size_t i, double a, double b, Rng& rng) const;
  [[nodiscard]] double perturb(std::size_t i, double x, Rng& rng) const;
  void cross_schedules(const Parameter& parameter, std::size_t offset, const Point& a,
                       const Point& b, Point& child, Rng& rng) const;
  void mutate_schedule(const Parameter& parameter, std::size_t offset, Point& child,
                       Rng& rng) const;

  const SearchSpace& space_;
  const VariationRates rates_;
  double mutation_probability_;
  std::vector<Scale> scales_;
};

}  // namespace paretod
