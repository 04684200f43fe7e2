#include "evaluators/builtin/evo_pool_problems.hpp"

#include <algorithm>
#include <cmath>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "evaluators/builtin/evo_pool.hpp"

namespace paretod {
namespace {

constexpr std::string_view alpha_prefix = "alpha.", beta_prefix = "beta.";
constexpr std::size_t default_adapters = 7;
constexpr double longest_delay_ms = 3'600'000;

struct EvoPoolParams {
  std::int64_t informative = -1;
  std::int64_t harmful = -1;
  std::int64_t pool_seed = 1;
  std::string merge_space = "factor";
  std::int64_t delay_ms = 0;
};

}  // namespace

template <>
Fields<EvoPoolParams> describe() {
  using P = EvoPoolParams;
  return Fields<P>()
      .add("informative", &P::informative,
           "adapters that know something of the target; -1: the square root of all", -1,
           EvoPool::most_adapters)
      .add("harmful", &P::harmful,
           "adapters that know the opposite, at most the rest; -1: a fifth of all", -1,
           EvoPool::most_adapters)
      .add("pool_seed", &P::pool_seed, "seed of the pool and its data", 0)
      .add("merge_space", &P::merge_space, "merge factors or weight changes", {"factor", "delta"})
      .add("delay_ms", &P::delay_ms, "milliseconds added to every evaluation, for trying things", 0,
           longest_delay_ms);
}

namespace {

/// Where each adapter's numbers lie in a point.
struct Columns {
  std::optional<std::size_t> alpha;
  std::size_t beta = 0;
};

std::vector<Columns> columns_of(const SearchSpace& space) {
  std::map<std::string_view, std::size_t> alphas;
  const std::vector<Parameter>& parameters = space.parameters();
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    const std::string_view name = parameters[i].name;
    if (name.starts_with(alpha_prefix)) {
      alphas[name.substr(alpha_prefix.size())] = space.offset(i);
    }
  }
  std::vector<Columns> columns;
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    const std::string_view name = parameters[i].name;
    if (!name.starts_with(beta_prefix)) continue;
    const auto alpha = alphas.find(name.substr(beta_prefix.size()));
    columns.push_back(
        {alpha == alphas.end() ? std::nullopt : std::optional(alpha->second), space.offset(i)});
  }
  return columns;
}

Problems check_pool_space(const SearchSpace& space) {
  Problems problems;
  const std::vector<Parameter>& parameters = space.parameters();
  std::size_t adapters = 0;
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    const std::string_view name = parameters[i].name;
    if (name.starts_with(beta_prefix)) ++adapters;
    if (parameters[i].type != ParameterType::real ||
        !(name.starts_with(beta_prefix) || name.starts_with(alpha_prefix))) {
      problems.push_back({"/space/" + std::to_string(i),
                          "has to be real and named \"alpha.NAME\" or \"beta.NAME\""});
    }
  }
  if (adapters == 0 || adapters > EvoPool::most_adapters) {
    problems.push_back({"/space", "needs from 1 to " + std::to_string(EvoPool::most_adapters) +
                                      " parameters named \"beta.NAME\""});
  }
  return problems;
}

Outcome evaluate(const EvoPool& pool, const std::vector<Columns>& columns, bool factor_space,
                 std::size_t tasks, const Candidate& candidate) {
  const std::size_t split = candidate.replicate % EvoPool::splits;
  const std::uint64_t block = candidate.replicate / EvoPool::splits;
  const std::size_t size = EvoPool::split_sizes[split];
  const bool whole = candidate.fidelity == 0 || candidate.fidelity >= size;
  const std::size_t count = whole ? size : static_cast<std::size_t>(candidate.fidelity);
  const std::size_t first = whole ? 0 : static_cast<std::size_t>(block % size * count % size);
  std::vector<MergeTerm> terms;
  for (const Columns& adapter : columns) {
    terms.push_back(
        {adapter.alpha ? candidate.point[*adapter.alpha] : 1, candidate.point[adapter.beta]});
  }
  Outcome outcome;
  for (std::size_t task = 0; task < tasks; ++task) {
    std::vector<float> losses(count);
    pool.losses(terms, factor_space, task, split, first, losses);
    double sum = 0, squares = 0;
    for (const float loss : losses) sum += static_cast<double>(loss);
    const double mean = sum / static_cast<double>(count);
    if (!std::isfinite(mean)) {
      return Outcome::failure(TrialStatus::infeasible, "the loss is not finite");
    }
    for (const float loss : losses) {
      squares += (static_cast<double>(loss) - mean) * (static_cast<double>(loss) - mean);
    }
    const double error =
        count > 1 ? std::sqrt(squares / static_cast<double>((count - 1) * count)) : -1;
    outcome.objectives.push_back({mean, error, count});
    outcome.examples.push_back(std::move(losses));
    if (whole) {
      const double base = pool.base_loss(task, split);
      outcome.metrics.emplace_back(task == 0 ? "gap_closed" : "gap_closed_2",
                                   (base - mean) / (base - pool.true_loss(task, split)));
    }
  }
  return outcome;
}

TestProblem pool_problem(std::string name, std::string summary, std::size_t tasks) {
  TestProblem problem;
  problem.name = std::move(name);
  EvaluatorDescription& description = problem.description;
  description.type = "builtin";
  description.summary = std::move(summary);
  std::vector<Parameter> space(2 * default_adapters);
  for (std::size_t i = 0; i < default_adapters; ++i) {
    const std::string number = std::to_string(i + 1);
    space[i].name = "alpha.a" + number;
    space[default_adapters + i].name = "beta.a" + number;
    space[default_adapters + i].low = -1.5;
    space[default_adapters + i].high = 1.5;
  }
  description.space = std::move(space);
  description.objectives = {{"loss"}};
  description.metrics = {"gap_closed"};
  if (tasks > 1) {
    description.objectives.push_back({"loss_2"});
    description.metrics.emplace_back("gap_closed_2");
  }
  description.fidelity_unit = "examples";
  description.default_fidelity = EvoPool::split_sizes[0];
  description.params = describe<EvoPoolParams>().infos();
  problem.check_space = check_pool_space;
  problem.prepare = [tasks](const EvaluationContext& context) {
    const auto params = describe<EvoPoolParams>().bind(context.params, "/evaluator/params").value();
    const std::vector<Columns> columns = columns_of(context.space);
    const std::size_t n = columns.size();
    const auto informative = std::min<std::size_t>(
        n, params.informative >= 0
               ? static_cast<std::size_t>(params.informative)
               : static_cast<std::size_t>(std::lround(std::sqrt(static_cast<double>(n)))));
    const auto harmful = std::min<std::size_t>(
        n - informative, params.harmful >= 0 ? static_cast<std::size_t>(params.harmful) : n / 5);
    const auto pool = std::make_shared<const EvoPool>(n, informative, harmful,
                                                      static_cast<std::uint64_t>(params.pool_seed));
    TestInstance instance;
    instance.delay_ms = params.delay_ms;
    instance.evaluate = [pool, columns, tasks, factor = params.merge_space == "factor"](
                            const SearchSpace&, const Candidate& candidate) {
      return evaluate(*pool, columns, factor, tasks, candidate);
    };
    return instance;
  };
  return problem;
}

}  // namespace

std::vector<TestProblem> evo_pool_problems() {
  return {
      pool_problem("evo-pool",
                   "A planted pool of adapters to merge, few of them of use: cross-entropy on a "
                   "target task; replicate 0, 1 and 2 are search, select and report examples.",
                   1),
      pool_problem("evo-pool-tasks", "The same with two target tasks that share half their skills.",
                   2),
  };
}

}  // namespace paretod
