#include "optimizers/pagmo_bridge.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <limits>
#include <memory>
#include <pagmo/algorithm.hpp>
#include <pagmo/algorithms/nsga2.hpp>
#include <pagmo/batch_evaluators/member_bfe.hpp>
#include <pagmo/bfe.hpp>
#include <pagmo/config.hpp>
#include <pagmo/population.hpp>
#include <pagmo/problem.hpp>
#include <string_view>
#include <utility>
#include <vector>

namespace paretod {
namespace {

constexpr double worst = 1e30;
constexpr double default_mutations = 1;  // expected number per point

/// The space as pagmo wants it: without fixed coordinates, whole ones last, logarithmic ones as
/// their logarithms.
class Coding {
 public:
  explicit Coding(const SearchSpace& space) : space_(space) {
    for (const bool whole : {false, true}) {
      for (std::size_t i = 0; i < space.dimension(); ++i) {
        const Coordinate& c = space.coordinates()[i];
        if (c.whole != whole || c.sampling_low == c.sampling_high) continue;
        order_.push_back(i);
        whole_ += whole ? 1 : 0;
      }
    }
  }

  [[nodiscard]] std::size_t dimension() const { return order_.size(); }
  [[nodiscard]] std::size_t whole() const { return whole_; }
  [[nodiscard]] std::pair<pagmo::vector_double, pagmo::vector_double> bounds() const {
    std::pair<pagmo::vector_double, pagmo::vector_double> box;
    for (const std::size_t i : order_) {
      const Coordinate& c = space_.coordinates()[i];
      box.first.push_back(c.log_scale ? std::log(c.sampling_low) : c.sampling_low);
      box.second.push_back(c.log_scale ? std::log(c.sampling_high) : c.sampling_high);
    }
    return box;
  }
  [[nodiscard]] Point decode(const double* x) const {
    Point point;
    for (const Coordinate& c : space_.coordinates()) point.push_back(c.sampling_low);
    for (const std::size_t i : order_) {
      point[i] = space_.coordinates()[i].log_scale ? std::exp(*x) : *x;
      ++x;
    }
    return space_.repair(std::move(point));
  }

 private:
  const SearchSpace& space_;
  std::vector<std::size_t> order_;
  std::size_t whole_ = 0;
};

/// What all copies of the problem share.  It outlives them: run_pagmo owns both.
struct Bridge {
  Coding coding;
  std::size_t objectives;
  std::uint64_t fidelity;
  Evaluations& evaluations;

  /// Throws BudgetSpent when the batch is larger than the budget, but only after what the budget
  /// allowed was evaluated and seen.
  pagmo::vector_double evaluate(const pagmo::vector_double& points) {
    const std::size_t wanted = points.size() / coding.dimension();
    const auto count =
        static_cast<std::size_t>(std::min<std::uint64_t>(wanted, evaluations.remaining()));
    std::vector<Candidate> candidates;
    for (std::size_t i = 0; i < count; ++i) {
      candidates.push_back(
          {coding.decode(points.data() + i * coding.dimension()), fidelity, 0, {}});
    }
    pagmo::vector_double fitness;
    for (const Trial& trial : evaluations.evaluate(candidates)) {
      for (std::size_t k = 0; k < objectives; ++k) {
        fitness.push_back(trial.ok() ? std::min(trial.objectives[k], worst) : worst);
      }
    }
    if (count < wanted) throw BudgetSpent{};
    return fitness;
  }
};

/// pagmo copies problems freely, so this is only a handle.
class BridgedProblem {
 public:
  BridgedProblem() = default;  // pagmo demands it; never used
  explicit BridgedProblem(Bridge& bridge) : bridge_(&bridge) {}

  [[nodiscard]] pagmo::vector_double fitness(const pagmo::vector_double& point) const {
    return bridge_->evaluate(point);
  }
  [[nodiscard]] pagmo::vector_double batch_fitness(const pagmo::vector_double& points) const {
    return bridge_->evaluate(points);
  }
  [[nodiscard]] std::pair<pagmo::vector_double, pagmo::vector_double> get_bounds() const {
    return bridge_->coding.bounds();
  }
  [[nodiscard]] pagmo::vector_double::size_type get_nobj() const { return bridge_->objectives; }
  [[nodiscard]] pagmo::vector_double::size_type get_nix() const { return bridge_->coding.whole(); }

 private:
  Bridge* bridge_ = nullptr;
};

// member_bfe calls batch_fitness and nothing else; pagmo's default would call fitness from
// several threads, in no order.
pagmo::bfe batches() {
  return pagmo::bfe{pagmo::member_bfe{}};
}

struct Setup {
  unsigned generations;
  unsigned seed;
  double dimension;
};

pagmo::algorithm make_nsga2(const PagmoParams& params, const Setup& setup) {
  const double mutation = params.mutation_probability > 0 ? params.mutation_probability
                                                          : default_mutations / setup.dimension;
  pagmo::nsga2 algorithm(setup.generations, params.crossover_probability, params.crossover_index,
                         mutation, params.mutation_index, setup.seed);
  algorithm.set_bfe(batches());
  return pagmo::algorithm(std::move(algorithm));
}

/// One line per algorithm: what it demands, and how it is made.
struct Entry {
  std::string_view name;
  std::size_t least_objectives;
  std::size_t most_objectives;
  std::int64_t least_population;
  std::int64_t population_multiple;
  pagmo::algorithm (*make)(const PagmoParams&, const Setup&);
};
constexpr std::size_t any_number = std::numeric_limits<std::size_t>::max();
constexpr std::array<Entry, 1> algorithms{{
    {"nsga2", 2, any_number, 8, 4, make_nsga2},
}};

const Entry& entry_of(const PagmoParams& params) {
  return *std::find_if(algorithms.begin(), algorithms.end(),
                       [&](const Entry& entry) { return entry.name == params.algorithm; });
}

Problems check_pagmo(const SearchProblem& problem, const PagmoParams& params) {
  const Entry& entry = entry_of(params);
  Problems problems;
  const std::size_t objectives = problem.objectives.size();
  if (objectives < entry.least_objectives || objectives > entry.most_objectives) {
    problems.push_back(
        {"/objectives",
         params.algorithm + " needs " +
             (objectives < entry.least_objectives ? "at least " : "at most ") +
             std::to_string(objectives < entry.least_objectives ? entry.least_objectives
                                                                : entry.most_objectives) +
             " objectives; there are " + std::to_string(objectives)});
  }
  for (std::size_t i = 0; i < problem.space.parameters().size(); ++i) {
    if (problem.space.coordinates()[problem.space.offset(i)].ordered) continue;
    problems.push_back({"/space/" + std::to_string(i),
                        params.algorithm + " needs ordered values; \"" +
                            problem.space.parameters()[i].name + "\" is categorical"});
  }
  if (Coding(problem.space).dimension() == 0) {
    problems.push_back({"/space", "every parameter is fixed: there is nothing to search"});
  }
  if (params.population < entry.least_population ||
      params.population % entry.population_multiple != 0) {
    problems.push_back({"/optimizer/params/population",
                        "must be a multiple of " + std::to_string(entry.population_multiple) +
                            " and at least " + std::to_string(entry.least_population) + " for " +
                            params.algorithm});
  } else if (problem.trials > 0 && problem.trials < static_cast<std::uint64_t>(params.population)) {
    problems.push_back(
        {"/optimizer/params/population",
         "is larger than the budget of " + std::to_string(problem.trials) + " trials"});
  }
  return problems;
}

Report run_pagmo(const SearchProblem& problem, const PagmoParams& params,
                 Evaluations& evaluations) {
  Bridge bridge{Coding(problem.space), problem.objectives.size(),
                static_cast<std::uint64_t>(params.fidelity), evaluations};
  const auto seed = [&](std::uint64_t purpose) {
    return static_cast<unsigned>(mix64(problem.seed, purpose));
  };
  const unsigned generations = params.generations > 0 ? static_cast<unsigned>(params.generations)
                                                      : std::numeric_limits<unsigned>::max();
  try {
    const pagmo::algorithm algorithm = entry_of(params).make(
        params, {generations, seed(1), static_cast<double>(bridge.coding.dimension())});
    const pagmo::population start(pagmo::problem(BridgedProblem(bridge)), batches(),
                                  static_cast<pagmo::population::size_type>(params.population),
                                  seed(0));
    static_cast<void>(algorithm.evolve(start));
  } catch (const BudgetSpent&) {
    return {.stop_reason = "budget", .quantities = {}, .rows = {}};
  }
  return {.stop_reason = "generations", .quantities = {}, .rows = {}};
}

std::vector<std::string> algorithm_names() {
  std::vector<std::string> names;
  for (const Entry& entry : algorithms) names.emplace_back(entry.name);
  return names;
}

}  // namespace

template <>
Fields<PagmoParams> describe() {
  using P = PagmoParams;
  return Fields<P>()
      .add("algorithm", &P::algorithm, "which of pagmo's algorithms", algorithm_names())
      .add("population", &P::population, "points per generation; nsga2: a multiple of 4, from 8", 1,
           100000)
      .add("generations", &P::generations, "generations after the first; 0: until the budget ends",
           0, 1e9)
      .add("crossover_probability", &P::crossover_probability,
           "how often two parents are crossed (simulated binary crossover)", 0, 0.999999)
      .add("crossover_index", &P::crossover_index,
           "distribution index of crossover: larger stays closer to the parents", 1, 99.999)
      .add("mutation_probability", &P::mutation_probability,
           "share of the coordinates that mutate (polynomial mutation); 0: one over their number",
           0, 1)
      .add("mutation_index", &P::mutation_index,
           "distribution index of mutation: larger stays closer to the parent", 1, 99.999)
      .add("fidelity", &P::fidelity, "how much each trial evaluates; 0: the evaluator's default", 0,
           1e15);
}

Optimizer pagmo_optimizer() {
  return make_optimizer<PagmoParams>(
      "pagmo", 1, "Evolutionary multi-objective algorithms of the pagmo library: NSGA-II.",
      "Deb et al., A fast and elitist multiobjective genetic algorithm: NSGA-II, IEEE TEC 6(2), "
      "2002; pagmo " PAGMO_VERSION,
      check_pagmo, run_pagmo);
}

std::string pagmo_version() {
  return PAGMO_VERSION;
}

}  // namespace paretod
