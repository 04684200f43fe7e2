#pragma once
// The steady-state evolution that nsga2 and nsga3 share: whenever a slot is free a child is
// submitted, whenever a result comes it takes part at once, so no evaluation ever waits for a
// generation to end.  What differs is who survives (Survival), and how many.

#include <cstddef>
#include <cstdint>
#include <utility>

#include "optimizers/core/optimizer.hpp"
#include "optimizers/core/params.hpp"
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

struct SteadyStateParams : VariationRates {
  double replicate_share = 0.25;
  std::int64_t fidelity = 0;
};

/// Describes them after the fields of the algorithm's own, whose params P are derived from them.
template <class P>
Fields<P> with_steady_state_fields(Fields<P> fields) {
  return std::move(fields)
      .add("crossover_probability", &P::crossover_probability,
           "how often a child has two parents instead of one", 0, 1)
      .add("crossover_index", &P::crossover_index,
           "distribution index of simulated binary crossover: larger stays closer to the parents",
           0, 1000)
      .add("mutation_probability", &P::mutation_probability,
           "share of the coordinates that mutate; 0: one over their number", 0, 1)
      .add("mutation_index", &P::mutation_index,
           "distribution index of polynomial mutation: larger stays closer to the parent", 0, 1000)
      .add("replicate_share", &P::replicate_share,
           "with noise.confidence: share of the trials that repeat members of the front", 0, 0.9)
      .add("fidelity", &P::fidelity, "how much each trial evaluates; 0: the evaluator's default", 0,
           1e15);
}

/// Keeps `size` points.  Runs until the budget ends, or until a finite space has no point left that
/// was not tried.
Report run_steady_state(const SearchProblem& problem, const SteadyStateParams& params,
                        std::size_t size, Survival& survival, Evaluations& evaluations);

}  // namespace paretod
