#pragma once
// Which runs of CMA-ES follow one another: IPOP (Auger and Hansen, CEC 2005) doubles the population
// with each restart; BIPOP (Hansen, GECCO 2009) also makes runs with small populations and small
// first steps, so long as these have used fewer evaluations than the large ones.  A plain value.

#include <cstddef>
#include <cstdint>

#include "optimizers/core/rng.hpp"

namespace paretod {

class RestartSchedule {
 public:
  enum class Kind { none, ipop, bipop };
  struct Run {
    std::size_t population = 0;
    double sigma_factor = 1;  ///< of the usual first step
    std::size_t most_generations = 0;
  };

  /// The base population may be fractional: its multiples are rounded down.  At least 1.
  RestartSchedule(Kind kind, std::size_t dimension, double base_population);

  /// The run to begin, first or next; requires !over().
  Run next(Rng& rng);
  /// The run begun last has ended after so many evaluations.
  void end(std::uint64_t trials);
  /// There is no further run.
  [[nodiscard]] bool over() const { return kind_ == Kind::none && runs_ > 0; }

 private:
  Kind kind_;
  double base_population_;
  double usual_generations_;
  std::size_t runs_ = 0, small_runs_ = 0;
  std::uint64_t small_trials_ = 0, large_trials_ = 0;
  bool small_ = true;  ///< the run begun last; the first counts as small
};

}  // namespace paretod
