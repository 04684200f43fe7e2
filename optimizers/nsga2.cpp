#include "optimizers/nsga2.hpp"

#include <cstddef>
#include <limits>
#include <vector>

#include "optimizers/core/front.hpp"

namespace paretod {
namespace {

/// The least crowded of the last front stay.  One member goes at a time, and distances are taken
/// anew each time, so a cluster loses its members one by one instead of all at once.
class CrowdingSurvival final : public Survival {
 public:
  std::size_t worst(const RankedPopulation& population) override {
    distances_.assign(population.size(), 0);
    std::vector<std::size_t> front;
    std::vector<std::vector<double>> points;
    for (std::size_t rank = 0; rank <= population.worst_rank(); ++rank) {
      front.clear();
      points.clear();
      for (std::size_t i = 0; i < population.size(); ++i) {
        if (population.rank(i) != rank) continue;
        front.push_back(i);
        points.push_back(population[i].objectives);
      }
      const std::vector<double> distances = crowding_distances(points);
      for (std::size_t i = 0; i < front.size(); ++i) distances_[front[i]] = distances[i];
    }
    std::size_t worst = front.back();
    for (const std::size_t i : front) {
      if (distances_[i] < distances_[worst]) worst = i;
    }
    return worst;
  }

  void removed(std::size_t i) override {
    distances_[i] = distances_.back();
    distances_.pop_back();
  }

  [[nodiscard]] bool prefers(std::size_t a, std::size_t b) const override {
    return distance(a) > distance(b);
  }

 private:
  [[nodiscard]] double distance(std::size_t i) const {
    return i < distances_.size() ? distances_[i] : std::numeric_limits<double>::infinity();
  }

  std::vector<double> distances_;
};

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
      "nsga2", 1,
      "NSGA-II without generations: a child whenever a slot is free, for any mix of parameters and "
      "one to four objectives.",
      "Deb et al., A fast and elitist multiobjective genetic algorithm: NSGA-II, IEEE TEC 6(2), "
      "2002; steady state as in Durillo et al., On the effect of the steady-state selection scheme "
      "in multi-objective genetic algorithms, EMO 2009",
      check_nsga2, run_nsga2);
}

}  // namespace paretod
