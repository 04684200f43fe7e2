#include "optimizers/nsga2.hpp"

#include <cstddef>

#include "optimizers/crowding_survival.hpp"

namespace paretod {
namespace {

Problems check_nsga2(const SearchProblem& problem, const Nsga2Params& params) {
  Problems problems;
  if (problem.objectives.size() > 4) {
    problems.push_back(
        {"/objectives",
         "crowding does not spread a front of more than 4 objectives; use \"nsga3\""});
  }
  if (problem.trials > 0 && problem.trials < static_cast<std::uint64_t>(params.population)) {
    problems.push_back(
        {"/optimizer/params/population",
         "is larger than the budget of " + std::to_string(problem.trials) + " trials"});
  }
  return problems;
}

Report run_nsga2(const SearchProblem& problem, const Nsga2Params& params,
                 Evaluations& evaluations) {
  CrowdingSurvival survival;
  return run_steady_state(problem, params, static_cast<std::size_t>(params.population), survival,
                          evaluations);
}

}  // namespace

template <>
Fields<Nsga2Params> describe() {
  using P = Nsga2Params;
  return with_steady_state_fields(
      Fields<P>().add("population", &P::population, "points that survive", 4, 10'000));
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
