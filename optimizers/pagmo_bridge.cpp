#include "optimizers/pagmo_bridge.hpp"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <numeric>
#include <pagmo/algorithm.hpp>
#include <pagmo/config.hpp>
#include <pagmo/population.hpp>
#include <pagmo/problem.hpp>
#include <pagmo/rng.hpp>
#include <pagmo/utils/generic.hpp>
#include <pagmo/utils/multi_objective.hpp>
#include <utility>
#include <vector>

#include "optimizers/pagmo_algorithms.hpp"
#include "optimizers/pagmo_coding.hpp"
#include "optimizers/usual_population.hpp"

namespace paretod {
namespace {

// Small enough to which 0.1 can be added: maco sets its reference point apart by that.
constexpr double largest_value = 1e12;
constexpr double worst = 4 * largest_value;
constexpr const char* default_algorithm = "nsga2";

pagmo::vector_double fitness_of(const Trial& trial) {
  pagmo::vector_double fitness = trial.objectives;
  const double violation = trial.violation();
  for (double& y : fitness) {
    if (!trial.ok()) {
      y = worst;
    } else if (violation > 0) {
      y = largest_value * (3 - 1 / (1 + violation));
    } else {
      y = std::min(y, largest_value);
    }
  }
  return fitness;
}

/// What all copies of the problem share.  It outlives them: run_pagmo owns both.
struct Bridge {
  PagmoCoding coding;
  std::size_t objectives;
  std::uint64_t fidelity;
  Evaluations& evaluations;
  std::uint64_t evaluated = 0;

  /// Throws BudgetSpent when the batch is larger than the budget, but only after what the budget
  /// allowed was evaluated and seen.
  pagmo::vector_double evaluate(std::vector<Point> points) {
    const std::size_t wanted = points.size();
    const auto count =
        static_cast<std::size_t>(std::min<std::uint64_t>(wanted, evaluations.remaining()));
    std::vector<Candidate> candidates;
    for (std::size_t i = 0; i < count; ++i) {
      candidates.push_back({std::move(points[i]), fidelity, 0, {}});
    }
    pagmo::vector_double fitness;
    for (const Trial& trial : evaluations.evaluate(candidates)) {
      const pagmo::vector_double one = fitness_of(trial);
      fitness.insert(fitness.end(), one.begin(), one.end());
    }
    evaluated += count;
    if (count < wanted) throw BudgetSpent{};
    return fitness;
  }
  pagmo::vector_double evaluate_coded(const pagmo::vector_double& coded) {
    std::vector<Point> points;
    for (std::size_t i = 0; i < coded.size(); i += coding.dimension()) {
      points.push_back(coding.decode(coded.data() + i));
    }
    return evaluate(std::move(points));
  }
};

/// pagmo copies problems freely, so this is only a handle.
class BridgedProblem {
 public:
  BridgedProblem() = default;  // pagmo demands it; never used
  explicit BridgedProblem(Bridge& bridge) : bridge_(&bridge) {}

  [[nodiscard]] pagmo::vector_double fitness(const pagmo::vector_double& point) const {
    return bridge_->evaluate_coded(point);
  }
  [[nodiscard]] pagmo::vector_double batch_fitness(const pagmo::vector_double& points) const {
    return bridge_->evaluate_coded(points);
  }
  [[nodiscard]] std::pair<pagmo::vector_double, pagmo::vector_double> get_bounds() const {
    return {bridge_->coding.low(), bridge_->coding.high()};
  }
  [[nodiscard]] pagmo::vector_double::size_type get_nobj() const { return bridge_->objectives; }
  [[nodiscard]] pagmo::vector_double::size_type get_nix() const { return bridge_->coding.whole(); }

 private:
  Bridge* bridge_ = nullptr;
};

// ---------------------------------------------------------------- the first population

struct Member {
  pagmo::vector_double x;
  pagmo::vector_double f;
};

/// The best `count` of them, in the order in which they came.
void keep_best(std::vector<Member>& members, std::size_t count) {
  if (members.size() <= count) return;
  std::vector<pagmo::pop_size_t> best(members.size());
  std::iota(best.begin(), best.end(), pagmo::pop_size_t{0});
  if (members[0].f.size() == 1) {
    std::stable_sort(best.begin(), best.end(),
                     [&](auto a, auto b) { return members[a].f[0] < members[b].f[0]; });
    best.resize(count);
  } else {
    std::vector<pagmo::vector_double> values;
    for (const Member& member : members) values.push_back(member.f);
    best = pagmo::select_best_N_mo(values, count);
  }
  std::sort(best.begin(), best.end());
  std::vector<Member> kept;
  for (const auto i : best) kept.push_back(std::move(members[i]));
  members = std::move(kept);
}

/// In slices of the population's size, since pagmo's sorting takes the square of what it is given.
std::vector<Member> known_members(const SearchProblem& problem, const Bridge& bridge,
                                  std::size_t population) {
  std::vector<Member> members;
  for (const Trial& trial : problem.known) {
    if (trial.candidate.fidelity != bridge.fidelity) continue;
    members.push_back({bridge.coding.encode(trial.candidate.point), fitness_of(trial)});
    if (members.size() == 2 * population) keep_best(members, population);
  }
  keep_best(members, population);
  return members;
}

pagmo::population first_population(const SearchProblem& problem, Bridge& bridge,
                                   std::size_t population, unsigned seed) {
  const pagmo::problem bridged{BridgedProblem(bridge)};
  std::vector<Member> members;
  std::vector<Point> points = problem.initial;
  for (const Point& point : points) members.push_back({bridge.coding.encode(point), {}});
  std::vector<Member> known = known_members(problem, bridge, population);

  // What pagmo's own constructor would draw, but evaluated in one batch with the initial points.
  const std::size_t given = points.size() + known.size();
  const std::size_t dimension = bridge.coding.dimension();
  if (given < population) {
    pagmo::detail::random_engine_type engine(seed);
    const auto drawn = pagmo::batch_random_decision_vector(bridged, population - given, engine);
    for (auto x = drawn.begin(); x != drawn.end(); x += static_cast<std::ptrdiff_t>(dimension)) {
      members.push_back({{x, x + static_cast<std::ptrdiff_t>(dimension)}, {}});
      points.push_back(bridge.coding.decode(members.back().x.data()));
    }
  }
  const pagmo::vector_double fitness = bridge.evaluate(std::move(points));
  for (std::size_t i = 0; i < members.size(); ++i) {
    const auto first = fitness.begin() + static_cast<std::ptrdiff_t>(i * bridge.objectives);
    members[i].f.assign(first, first + static_cast<std::ptrdiff_t>(bridge.objectives));
  }
  members.insert(members.begin() + static_cast<std::ptrdiff_t>(problem.initial.size()),
                 std::make_move_iterator(known.begin()), std::make_move_iterator(known.end()));
  keep_best(members, population);
  pagmo::population start(bridged, 0U, seed);
  for (Member& member : members) start.push_back(std::move(member.x), std::move(member.f));
  return start;
}

// ---------------------------------------------------------------- parameters

FieldInfo algorithm_field(const std::vector<PagmoAlgorithm>& algorithms) {
  FieldInfo field{"algorithm", "", std::string(default_algorithm)};
  std::string batched;
  for (const PagmoAlgorithm& algorithm : algorithms) {
    field.choices.push_back(algorithm.demands.name);
    if (algorithm.demands.batches) batched += (batched.empty() ? "" : ", ") + field.choices.back();
  }
  field.meaning = "which of pagmo's algorithms; " + batched +
                  " evaluate a generation in parallel, the others one point at a time after the "
                  "first population";
  return field;
}

FieldInfo fidelity_field() {
  return {"fidelity", "how much each trial evaluates; 0: the evaluator's default", std::int64_t{0},
          0, 1e15};
}

FieldInfo population_field(const PagmoDemands& demands) {
  std::string meaning = demands.generations == PagmoGenerations::population
                            ? "points per generation"
                            : "points to start from";
  if (demands.population_multiple > 1) {
    meaning += "; a multiple of " + std::to_string(demands.population_multiple);
  }
  return {"population", meaning, demands.population, static_cast<double>(demands.least_population),
          100000};
}

FieldInfo generations_field(const PagmoDemands& demands) {
  const bool single = demands.generations == PagmoGenerations::single;
  return {"generations",
          std::string(single ? "evaluations" : "generations") +
              " after the first population; 0: until the budget ends",
          std::int64_t{0}, 0, 1e9};
}

/// Everything that may be given for this algorithm.
std::vector<FieldInfo> fields_of(const PagmoAlgorithm& algorithm) {
  std::vector<FieldInfo> fields{population_field(algorithm.demands)};
  if (algorithm.demands.generations != PagmoGenerations::none) {
    fields.push_back(generations_field(algorithm.demands));
  }
  fields.insert(fields.end(), algorithm.fields.begin(), algorithm.fields.end());
  return fields;
}

std::vector<FieldInfo> all_fields() {
  const std::vector<PagmoAlgorithm> algorithms = pagmo_algorithms();
  std::vector<FieldInfo> all{algorithm_field(algorithms), fidelity_field()};
  for (const PagmoAlgorithm& algorithm : algorithms) {
    for (FieldInfo& field : fields_of(algorithm)) {
      field.only_with = {"algorithm", algorithm.demands.name};
      all.push_back(std::move(field));
    }
  }
  return all;
}

/// Parameters as the bridge needs them: the algorithm, what it shares with others, its own.
struct Choice {
  PagmoAlgorithm algorithm;
  std::int64_t population = 0;
  bool lowered = false;  ///< the population, to fit the budget
  std::int64_t generations = 0;
  std::int64_t fidelity = 0;
  ParamValues own;
};

bool has_field(const std::vector<FieldInfo>& fields, const std::string& name) {
  return std::any_of(fields.begin(), fields.end(),
                     [&](const FieldInfo& field) { return field.name == name; });
}

std::string joined(const std::vector<std::string>& names) {
  std::string text;
  for (const std::string& name : names) text += (text.empty() ? "" : ", ") + name;
  return text;
}

/// Why this algorithm has no such parameter, and who has.
std::string unknown_parameter(const std::string& name, const Choice& choice,
                              const std::vector<PagmoAlgorithm>& algorithms) {
  std::vector<std::string> owners;
  for (const PagmoAlgorithm& other : algorithms) {
    if (has_field(fields_of(other), name)) owners.push_back(other.demands.name);
  }
  std::vector<std::string> known{"algorithm", "fidelity"};
  for (const FieldInfo& field : fields_of(choice.algorithm)) known.push_back(field.name);
  return choice.algorithm.demands.name + " has no parameter \"" + name + "\"" +
         (owners.empty() ? "" : " (" + joined(owners) + " would)") + "; it has: " + joined(known);
}

void read_whole(const FieldInfo& field, const ParamValues& values, std::int64_t& out,
                Problems& problems) {
  out = std::get<std::int64_t>(field.default_value);
  const auto found = values.find(field.name);
  if (found == values.end()) return;
  if (const auto checked = check_field(field, found->second)) {
    out = std::get<std::int64_t>(*checked);
  } else {
    problems.push_back({"/optimizer/params/" + field.name, checked.error().message});
  }
}

/// With a population that the budget (0: none) pays for, if the user set none.
Result<Choice> read_choice(const ParamValues& values, std::uint64_t budget) {
  const std::vector<PagmoAlgorithm> algorithms = pagmo_algorithms();
  std::string name = default_algorithm;
  if (const auto given = values.find("algorithm"); given != values.end()) {
    const auto checked = check_field(algorithm_field(algorithms), given->second);
    if (!checked) {
      return invalid("the parameters are not valid",
                     {{"/optimizer/params/algorithm", checked.error().message}});
    }
    name = std::get<std::string>(*checked);
  }
  Choice choice;
  choice.algorithm =
      *std::find_if(algorithms.begin(), algorithms.end(),
                    [&](const PagmoAlgorithm& other) { return other.demands.name == name; });
  const PagmoDemands& demands = choice.algorithm.demands;
  Problems problems;
  read_whole(fidelity_field(), values, choice.fidelity, problems);
  read_whole(population_field(demands), values, choice.population, problems);
  if (!values.contains("population")) {
    const auto least = static_cast<std::uint64_t>(demands.least_population);
    const std::uint64_t size =
        usual_population(static_cast<std::uint64_t>(demands.population), budget, least);
    const auto multiple = static_cast<std::uint64_t>(demands.population_multiple);
    choice.population = static_cast<std::int64_t>(std::max(least, size - size % multiple));
    choice.lowered = choice.population < demands.population;
  }
  if (demands.generations != PagmoGenerations::none) {
    read_whole(generations_field(demands), values, choice.generations, problems);
  }
  const std::vector<FieldInfo> fields = fields_of(choice.algorithm);
  for (const auto& [key, value] : values) {
    if (has_field(choice.algorithm.fields, key)) {
      choice.own.emplace(key, value);
    } else if (key != "algorithm" && key != "fidelity" && !has_field(fields, key)) {
      problems.push_back({"/optimizer/params/" + key, unknown_parameter(key, choice, algorithms)});
    }
  }
  if (!problems.empty()) return invalid("the parameters are not valid", std::move(problems));
  return choice;
}

// ---------------------------------------------------------------- what suits an algorithm

void check_objectives(std::size_t objectives, const PagmoDemands& demands, Problems& problems) {
  if (objectives >= demands.least_objectives && objectives <= demands.most_objectives) return;
  std::vector<std::string> suitable;
  for (const PagmoAlgorithm& other : pagmo_algorithms()) {
    if (objectives >= other.demands.least_objectives &&
        objectives <= other.demands.most_objectives) {
      suitable.push_back(other.demands.name);
    }
  }
  const bool few = objectives < demands.least_objectives;
  const std::size_t limit = few ? demands.least_objectives : demands.most_objectives;
  problems.push_back({"/objectives", demands.name + " needs at " + (few ? "least " : "most ") +
                                         std::to_string(limit) +
                                         (limit == 1 ? " objective" : " objectives") +
                                         "; there are " + std::to_string(objectives) +
                                         ", for which pagmo has " + joined(suitable)});
}

void check_space(const SearchSpace& space, const PagmoDemands& demands, Problems& problems) {
  const std::string remedy =
      ": use paretod's own optimizer nsga2, or an integer if the choices have an order";
  for (std::size_t p = 0; p < space.parameters().size(); ++p) {
    const Parameter& parameter = space.parameters()[p];
    const auto begin = space.coordinates().begin() + static_cast<std::ptrdiff_t>(space.offset(p));
    const auto end = begin + static_cast<std::ptrdiff_t>(parameter.width());
    const bool ordered = std::all_of(begin, end, [](const Coordinate& c) {
      return c.ordered || c.sampling_low == c.sampling_high;
    });
    if (ordered) continue;
    const bool whole_parameter = parameter.type == ParameterType::categorical;
    problems.push_back({"/space/" + std::to_string(p) + (whole_parameter ? "" : "/choices"),
                        demands.name + " needs ordered values; " +
                            (whole_parameter ? "\"" : "the choices of \"") + parameter.name +
                            (whole_parameter ? "\" is categorical" : "\" have no order") + remedy});
  }
  if (PagmoCoding(space, WholeNumbers::native).dimension() == 0) {
    problems.push_back({"/space", "every parameter is fixed: there is nothing to search"});
  }
}

Problems check_pagmo(const SearchProblem& problem, const ParamValues& values) {
  const Result<Choice> choice = read_choice(values, problem.trials);
  if (!choice) return choice.error().problems;
  const PagmoDemands& demands = choice->algorithm.demands;
  Problems problems;
  check_objectives(problem.objectives.size(), demands, problems);
  check_space(problem.space, demands, problems);
  if (problem.noise.active()) {
    problems.push_back({"/noise",
                        "pagmo takes every outcome as it is: leave out noise, or use "
                        "paretod's own optimizer nsga2"});
  }
  const std::string at = "/optimizer/params/";
  if (choice->population % demands.population_multiple != 0) {
    problems.push_back(
        {at + "population", "must be a multiple of " + std::to_string(demands.population_multiple) +
                                " and at least " + std::to_string(demands.least_population) +
                                " for " + demands.name});
  } else if (Problems found = check_population(static_cast<std::uint64_t>(choice->population),
                                               values.contains("population"), problem.trials);
             !found.empty()) {
    problems.push_back(std::move(found.front()));
  }
  if (demands.plans && problem.trials == 0 && choice->generations == 0) {
    problems.push_back({at + "generations", demands.name + " plans its course: it needs their "
                                                           "number, or a budget of trials"});
  }
  // With the wrong number of objectives its own check has nothing to say.
  if (problems.empty()) {
    problems =
        choice->algorithm.check(choice->own, {problem.objectives.size(), choice->population});
    // What was lowered to fit the budget does not fit the algorithm: the user set neither.
    if (choice->lowered && !problems.empty()) {
      const Problem& own = problems.front();
      problems = {{"/budget/trials", "is less than the usual population of " + demands.name + ", " +
                                         std::to_string(demands.population) + ", and with one of " +
                                         std::to_string(choice->population) + " " +
                                         own.pointer.substr(at.size()) + " " + own.message +
                                         ": raise the budget, or set population and " +
                                         own.pointer.substr(at.size())}};
    }
  }
  return problems;
}

// ---------------------------------------------------------------- the run

/// How many generations to ask pagmo for.
unsigned generations_of(const Choice& choice, const SearchProblem& problem,
                        std::uint64_t evaluated) {
  if (choice.generations > 0) return static_cast<unsigned>(choice.generations);
  constexpr std::uint64_t endless = std::numeric_limits<unsigned>::max();
  if (!choice.algorithm.demands.plans) return static_cast<unsigned>(endless);
  const auto each = choice.algorithm.demands.generations == PagmoGenerations::single
                        ? std::uint64_t{1}
                        : static_cast<std::uint64_t>(choice.population);
  const std::uint64_t left = problem.trials > evaluated ? problem.trials - evaluated : 1;
  return static_cast<unsigned>(std::min((left + each - 1) / each, endless));
}

Report run_pagmo(const SearchProblem& problem, const ParamValues& values,
                 Evaluations& evaluations) {
  const Choice choice = read_choice(values, problem.trials).value();
  const PagmoDemands& demands = choice.algorithm.demands;
  Bridge bridge{
      PagmoCoding(problem.space, demands.integers ? WholeNumbers::native : WholeNumbers::relaxed),
      problem.objectives.size(), static_cast<std::uint64_t>(choice.fidelity), evaluations};
  const auto seed = [&](std::uint64_t purpose) {
    return static_cast<unsigned>(mix64(problem.seed, purpose));
  };
  try {
    pagmo::population population =
        first_population(problem, bridge, static_cast<std::size_t>(choice.population), seed(0));
    const unsigned generations = generations_of(choice, problem, bridge.evaluated);
    const pagmo::algorithm algorithm =
        choice.algorithm.make(choice.own, {generations, seed(1), bridge.coding.dimension()});
    std::uint64_t before = 0;
    do {
      before = bridge.evaluated;
      population = algorithm.evolve(population);
    } while (demands.restarts && bridge.evaluated > before);
    const auto each = demands.generations == PagmoGenerations::population
                          ? static_cast<std::uint64_t>(choice.population)
                          : std::uint64_t{1};
    const bool complete = bridge.evaluated - before >= generations * each;
    return {.stop_reason = complete ? "generations" : "converged", .quantities = {}, .rows = {}};
  } catch (const BudgetSpent&) {
    return {.stop_reason = "budget", .quantities = {}, .rows = {}};
  }
}

std::string summary() {
  std::string one;
  std::string several;
  for (const PagmoAlgorithm& algorithm : pagmo_algorithms()) {
    const PagmoDemands& demands = algorithm.demands;
    std::string& list = demands.most_objectives > 1 ? several : one;
    list += (list.empty() ? "" : ", ") + demands.name + (demands.batches ? "*" : "");
  }
  return "Algorithms of the pagmo library, for ordered values.  Several objectives: " + several +
         ".  One: " + one +
         ".  Only those with * evaluate in parallel after their first population.";
}

}  // namespace

Optimizer pagmo_optimizer() {
  return {.name = "pagmo",
          .revision = 1,
          .summary = summary(),
          .source =
              "Biscani and Izzo, A parallel global multiobjective framework for "
              "optimization: pagmo, JOSS 5(53), 2020; pagmo " PAGMO_VERSION,
          .fields = all_fields(),
          .check = check_pagmo,
          .run = run_pagmo};
}

std::string pagmo_version() {
  return PAGMO_VERSION;
}

}  // namespace paretod
