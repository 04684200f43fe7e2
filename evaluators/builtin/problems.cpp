#include "evaluators/builtin/problems.hpp"

#include <algorithm>
#include <limits>
#include <memory>
#include <string>
#include <utility>

#include "evaluators/builtin/ddim.hpp"
#include "evaluators/builtin/evo_pool_problems.hpp"
#include "evaluators/builtin/functions.hpp"
#include "evaluators/builtin/lcsc_toy.hpp"

namespace paretod {
namespace {

struct FunctionParams {
  double noise = 0;
  std::int64_t delay_ms = 0;
};

struct DdimParams {
  double noise = 0;
  std::int64_t delay_ms = 0;
  std::string schedule = "linear";
};

struct LcscToyParams {
  double noise = 0;
  std::int64_t delay_ms = 0;
  std::int64_t toy_seed = 1;
};

constexpr const char* delay_meaning = "milliseconds added to every evaluation, for trying things";
constexpr double longest_delay_ms = 3'600'000;

}  // namespace

template <>
Fields<FunctionParams> describe() {
  return Fields<FunctionParams>()
      .add("noise", &FunctionParams::noise,
           "standard deviation of the noise on each objective, for one sample", 0)
      .add("delay_ms", &FunctionParams::delay_ms, delay_meaning, 0, longest_delay_ms);
}

template <>
Fields<DdimParams> describe() {
  return Fields<DdimParams>()
      .add("noise", &DdimParams::noise, "standard deviation of the noise, for one sample", 0)
      .add("delay_ms", &DdimParams::delay_ms, delay_meaning, 0, longest_delay_ms)
      .add("schedule", &DdimParams::schedule, "noise schedule of the diffusion process",
           {"linear", "cosine"});
}

template <>
Fields<LcscToyParams> describe() {
  return Fields<LcscToyParams>()
      .add("noise", &LcscToyParams::noise,
           "standard deviation of the noise, for one sample, as a share of the gap between the "
           "best usual combination and the optimum",
           0)
      .add("delay_ms", &LcscToyParams::delay_ms, delay_meaning, 0, longest_delay_ms)
      .add("toy_seed", &LcscToyParams::toy_seed, "seed of the toy's training run", 0);
}

namespace {

template <class P>
P bind(const EvaluationContext& context) {
  return describe<P>().bind(context.params, "/evaluator/params").value();
}

template <class P>
EvaluatorDescription description(std::string summary, std::vector<Parameter> space,
                                 std::vector<Objective> objectives,
                                 std::vector<std::string> metrics) {
  EvaluatorDescription out;
  out.type = "builtin";
  out.summary = std::move(summary);
  out.space = std::move(space);
  out.objectives = std::move(objectives);
  out.metrics = std::move(metrics);
  out.fidelity_unit = "samples";
  out.default_fidelity = 1;
  out.params = describe<P>().infos();
  return out;
}

std::string parameter_at(std::size_t i) {
  return "/space/" + std::to_string(i);
}

Problems check_function_space(const TestFunction& function, const SearchSpace& space) {
  Problems problems;
  const auto& parameters = space.parameters();
  if (parameters.size() < function.least_dimension) {
    problems.push_back(
        {"/space", "needs at least " + std::to_string(function.least_dimension) + " parameters"});
  }
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    if (parameters[i].type != ParameterType::real) {
      problems.push_back({parameter_at(i) + "/type", "has to be real for this test problem"});
      continue;
    }
    const Parameter& domain = function.space[std::min<std::size_t>(i, 1)];
    if (function.bounded_domain &&
        (parameters[i].low < domain.low || parameters[i].high > domain.high)) {
      problems.push_back({parameter_at(i), "has to stay within [" +
                                               std::to_string(static_cast<int>(domain.low)) + ", " +
                                               std::to_string(static_cast<int>(domain.high)) +
                                               "], the domain of this test problem"});
    }
  }
  return problems;
}

TestProblem function_problem(const TestFunction& function) {
  std::vector<Objective> objectives;
  for (std::size_t i = 0; i < function.objectives; ++i) {
    objectives.push_back({function.objectives == 1 ? "f" : "f" + std::to_string(i + 1)});
  }
  TestProblem problem;
  problem.name = function.name;
  problem.description =
      description<FunctionParams>(function.summary, function.space, std::move(objectives), {});
  problem.check_space = [function](const SearchSpace& space) {
    return check_function_space(function, space);
  };
  problem.prepare = [value = function.value](const EvaluationContext& context) {
    const auto params = bind<FunctionParams>(context);
    return TestInstance{params.noise, params.delay_ms,
                        [value](const SearchSpace&, const Point& point, std::span<double> f,
                                Metrics&) { value(point, f); }};
  };
  return problem;
}

Problems check_ddim_space(const SearchSpace& space) {
  Problems problems;
  const auto& parameters = space.parameters();
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    const Parameter& p = parameters[i];
    const bool inside = p.low >= 0 && p.high < DdimProblem::time_steps;
    if (parameters.size() == 1 && p.type == ParameterType::schedule) {
      if (p.whole && inside && p.step_width() == 1) continue;
      problems.push_back({parameter_at(i),
                          "has to be a schedule of whole nodes within [0, 999], time steps, that "
                          "carry neither choice nor mask"});
    } else if (p.type != ParameterType::integer || !inside) {
      problems.push_back({parameter_at(i),
                          "has to be an integer within [0, 999], a time step (or the only "
                          "parameter a schedule of them)"});
    }
  }
  return problems;
}

TestProblem ddim_problem() {
  std::vector<Parameter> space(4);
  for (std::size_t i = 0; i < space.size(); ++i) {
    space[i].name = "t" + std::to_string(i + 1);
    space[i].type = ParameterType::integer;
    space[i].high = DdimProblem::time_steps - 1;
  }
  TestProblem problem;
  problem.name = "ddim";
  problem.description = description<DdimParams>(
      "Time steps of a diffusion sampler on Gaussian data, where the distance has a closed form; "
      "one integer per step, order and repetitions do not matter, or one schedule.",
      std::move(space), {{"distance"}}, {"steps"});
  problem.check_space = check_ddim_space;
  problem.prepare = [](const EvaluationContext& context) {
    const auto params = bind<DdimParams>(context);
    const auto ddim = std::make_shared<const DdimProblem>(
        params.schedule == "cosine" ? NoiseSchedule::cosine : NoiseSchedule::linear);
    return TestInstance{params.noise, params.delay_ms,
                        [ddim](const SearchSpace& job_space, const Point& point,
                               std::span<double> f, Metrics& metrics) {
                          std::vector<double> nodes = point;
                          if (job_space.parameters()[0].type == ParameterType::schedule) {
                            const auto count = static_cast<std::ptrdiff_t>(point[0]);
                            nodes.assign(point.begin() + 1, point.begin() + 1 + count);
                          }
                          const std::vector<int> steps = distinct_steps(nodes);
                          metrics.emplace_back("steps", static_cast<double>(steps.size()));
                          f[0] = ddim->distance(steps);
                        }};
  };
  return problem;
}

Problems check_lcsc_space(const SearchSpace& space) {
  const auto& parameters = space.parameters();
  if (parameters.size() != 1 || parameters[0].type != ParameterType::affine) {
    return {{"/space", "has to be one affine parameter, with one coefficient per checkpoint"}};
  }
  if (parameters[0].size > LcscToy::most_checkpoints) {
    return {{"/space/0/size",
             "has to be at most " + std::to_string(LcscToy::most_checkpoints) + " in this toy"}};
  }
  return {};
}

/// The latest toys, since training one takes longer than thousands of evaluations.
class ToyShelf {
 public:
  std::shared_ptr<const LcscToy> get(std::size_t size, std::int64_t seed) {
    constexpr std::size_t most_kept = 8;
    for (const auto& [key, toy] : toys_) {
      if (key == std::pair(size, seed)) return toy;
    }
    if (toys_.size() == most_kept) toys_.erase(toys_.begin());
    auto toy = std::make_shared<const LcscToy>(size, static_cast<std::uint64_t>(seed));
    toys_.emplace_back(std::pair(size, seed), toy);
    return toy;
  }

 private:
  std::vector<std::pair<std::pair<std::size_t, std::int64_t>, std::shared_ptr<const LcscToy>>>
      toys_;
};

TestProblem lcsc_problem() {
  Parameter alpha;
  alpha.name = "alpha";
  alpha.type = ParameterType::affine;
  alpha.size = 50;
  alpha.low = -std::numeric_limits<double>::infinity();
  alpha.high = std::numeric_limits<double>::infinity();
  for (std::size_t k = 1; k <= alpha.size; ++k) {
    alpha.positions.emplace_back(LcscToy::burn_in + LcscToy::interval * static_cast<double>(k));
  }
  TestProblem problem;
  problem.name = "lcsc-toy";
  problem.description = description<LcscToyParams>(
      "Combination of saved checkpoints of a quadratic toy run, whose best combination is known; "
      "the space is one affine parameter with a coefficient per checkpoint.",
      {alpha}, {{"loss"}}, {"exact", "optimum", "best_seed", "gap_closed"});
  problem.check_space = check_lcsc_space;
  problem.prepare = [toys = std::make_shared<ToyShelf>()](const EvaluationContext& context) {
    const auto params = bind<LcscToyParams>(context);
    const auto toy = toys->get(context.space.parameters()[0].size, params.toy_seed);
    return TestInstance{
        params.noise * (toy->best_seed() - toy->optimum()), params.delay_ms,
        [toy](const SearchSpace& space, const Point& point, std::span<double> f, Metrics& metrics) {
          const double exact = toy->loss(space.coefficients(0, point));
          metrics = {{"exact", exact},
                     {"optimum", toy->optimum()},
                     {"best_seed", toy->best_seed()},
                     {"gap_closed", toy->gap_closed(exact)}};
          f[0] = exact;
        }};
  };
  return problem;
}

}  // namespace

std::vector<TestProblem> builtin_problems() {
  std::vector<TestProblem> problems{ddim_problem(), lcsc_problem()};
  for (TestProblem& problem : evo_pool_problems()) problems.push_back(std::move(problem));
  for (const TestFunction& function : test_functions()) {
    problems.push_back(function_problem(function));
  }
  std::sort(problems.begin(), problems.end(),
            [](const TestProblem& a, const TestProblem& b) { return a.name < b.name; });
  return problems;
}

}  // namespace paretod
