#pragma once
// The steady-state evolution that nsga2 and nsga3 share: whenever a slot is free a child is
// submitted, whenever a result comes it takes part at once, so no evaluation ever waits for a
// generation to end.  What differs is who survives (Survival).

#include <cstdint>

#include "optimizers/core/optimizer.hpp"
#include "optimizers/ranked_population.hpp"
#include "optimizers/variation.hpp"

namespace paretod {

/// Decides within a population.  Called after every change of it.
class Survival {
 public:
  virtual ~Survival() = default;
  /// Who goes when there is one too many.
  virtual std::size_t worst(const RankedPopulation& population) = 0;
  /// That member went, and the last one took its place.
  virtual void removed(std::size_t i) = 0;
  /// Among members of equal rank: whether a is the better parent.  Both were in the population
  /// when worst() was last called, or are newer.
  [[nodiscard]] virtual bool prefers(std::size_t a, std::size_t b) const = 0;
};

struct SteadyStateSettings {
  std::size_t population = 100;
  VariationRates rates;
  std::uint64_t fidelity = 0;
  /// Share of the evaluations that repeat a member of the front, when noise is looked after.
  double replicate_share = 0.25;
};

/// Runs until the budget ends, or until a finite space has no point left that was not tried.
Report run_steady_state(const SearchProblem& problem, const SteadyStateSettings& settings,
                        Survival& survival, Evaluations& evaluations);

}  // namespace paretod
