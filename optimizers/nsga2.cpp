#include "optimizers/nsga2.hpp"

#include <cstddef>
#include <string>
#include <utility>

#include "optimizers/crowding_survival.hpp"
#include "optimizers/usual_population.hpp"

namespace paretod {
namespace {

constexpr std::uint64_t usual = 50, least = 4;

std::size_t population_of(const SearchProblem& problem, const Nsga2Params& params) {
  return params.population > 0 ? static_cast<std::size_t>(params.population)
                               : usual_population(usual, problem.trials, least);
}

Problems check_nsga2(const SearchProblem& problem, const Nsga2Params& params) {
  Problems problems;
  if (problem.objectives.size() > 4) {
    problems.push_back(
        {"/objectives",
         "crowding does not spread a front of more than 4 objectives; use \"nsga3\""});
  }
  if (params.population > 0 && static_cast<std::uint64_t>(params.population) < least) {
    problems.push_back({"/optimizer/params/population",
                        "must be at least " + std::to_string(least) + ", or 0 for the usual one"});
  } else if (Problems found = check_population(population_of(problem, params),
                                               params.population > 0, problem.trials);
             !found.empty()) {
    problems.push_back(std::move(found.front()));
  }
  return problems;
}

Report run_nsga2(const SearchProblem& problem, const Nsga2Params& params,
                 Evaluations& evaluations) {
  CrowdingSurvival survival;
  return run_steady_state(problem, params, population_of(problem, params), survival, evaluations);
}

}  // namespace

template <>
Fields<Nsga2Params> describe() {
  using P = Nsga2Params;
  return with_steady_state_fields(
      Fields<P>().add("population", &P::population,
                      "points that survive; 0: 50, or a quarter of a smaller budget", 0, 10'000));
}

Optimizer nsga2_optimizer() {
  return make_optimizer<Nsga2Params>(
      "nsga2", 2,
      "NSGA-II without generations: a child whenever a slot is free, for any mix of parameters and "
      "one to four objectives.",
      "Deb et al., A fast and elitist multiobjective genetic algorithm: NSGA-II, IEEE TEC 6(2), "
      "2002; steady state as in Durillo et al., On the effect of the steady-state selection scheme "
      "in multi-objective genetic algorithms, EMO 2009",
      check_nsga2, run_nsga2);
}

}  // namespace paretod
