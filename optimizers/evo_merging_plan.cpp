#include "optimizers/evo_merging_plan.hpp"

#include <algorithm>
#include <cmath>
#include <string>
#include <type_traits>

namespace paretod {
namespace {

using What = EvoMergingPlan::What;
using Examples = EvoMergingPlan::Examples;

/// More slots than two generations' worth would be idle; beyond so many they may be.
constexpr std::size_t most_slots_filled = 128;
constexpr std::uint64_t usual_examples = 300;
constexpr std::uint64_t least_raced = 30;

struct Generations {
  std::size_t denoise, scale, polish;
};

/// The authors' code (research/evo-merging.md, section 4).
Generations paper(EvoMergingPlan& plan, double n) {
  plan.weight = 1 / n;
  plan.barrier = true;
  return {20, 40, 0};
}

/// LoRAHub (Huang et al., arXiv 2307.13269): no pruning, from zero, 40 evaluations on 5 examples.
/// Its optimiser is Nevergrad's NGOpt, whose first steps are a sixth of the box; here it is CMA-ES.
Generations lorahub(EvoMergingPlan& plan, double n) {
  plan.weight = 0;
  plan.population = 4 + static_cast<std::size_t>(3 * std::log(n));
  plan.beta_sigma = 0.5;
  plan.search_examples = 5;
  plan.barrier = true;
  return {0, std::max<std::size_t>(1, 40 / plan.population), 0};
}

Generations ours(EvoMergingPlan& plan, double n, std::size_t slots) {
  plan.weight = 1 / n;
  plan.population = std::max<std::size_t>(20, (std::min(slots, most_slots_filled) + 1) / 2);
  plan.alpha_start = 0.6;
  plan.alpha_sigma = 0.25;
  plan.beta_sigma = std::min(0.5 / std::sqrt(n), 3 / n);
  plan.examples = Examples::rotate;
  plan.redraw = true;
  plan.diagonal = n >= 50;
  plan.rivals = true;
  return {44, 96, 0};
}

template <class Value, class Param>
void set(Value& value, Param param) {
  if (param >= 0) value = static_cast<Value>(param);
}

/// One step towards a cheaper last stage; false when there is none.
bool shrink(EvoMergingPlan& plan) {
  if (plan.leave_one_out > 5) {
    plan.leave_one_out = std::max<std::size_t>(5, plan.leave_one_out / 2);
  } else if (plan.controls > 1) {
    plan.controls = 1;
  } else if (plan.single_adapters) {
    plan.single_adapters = false;
  } else if (plan.leave_one_out > 0) {
    plan.leave_one_out = 0;
  } else if (plan.finalists > 2) {
    --plan.finalists;
  } else if (plan.controls > 0) {
    plan.controls = 0;
  } else {
    return false;
  }
  return true;
}

}  // namespace

std::size_t EvoMergingPlan::generation_cost() const {
  return population + (examples == Examples::race ? finish : 0);
}

std::size_t EvoMergingPlan::search_cost(const Stage& stage) const {
  const std::size_t others = (stage.starts - 1) * stage.opening;
  return generation_cost() * (stage.generations + others) + (stage.starts > 1 ? stage.starts : 0);
}

std::size_t EvoMergingPlan::report_cost(std::size_t adapters, std::size_t directions) const {
  const std::size_t singles = single_adapters ? adapters + finalists + 1 : 0;
  return singles + 3 + rivals + directions + controls + std::min(leave_one_out, adapters);
}

MergeExamples EvoMergingPlan::examples_of(std::size_t generation, std::size_t generations) const {
  switch (examples) {
    case Examples::race:
      return {search_examples, 0, first_examples, finish};
    case Examples::rotate: {
      // The last one on all, so that its best can be told.
      if (generation + 1 >= generations) break;
      const double share = static_cast<double>(generation) / static_cast<double>(generations);
      // Of a split of unknown size: as far as usual.
      const std::uint64_t most = search_examples > 0 ? search_examples : usual_examples;
      const double growth =
          static_cast<double>(std::max(most, first_examples)) / static_cast<double>(first_examples);
      const double count =
          static_cast<double>(first_examples) * std::pow(growth, share * share * share);
      // In equal parts, so that as many generations in turn see each example once, and what one
      // block misleads to, the others take back.
      const double parts = std::max(1.0, std::round(static_cast<double>(most) / count));
      const auto size = static_cast<std::uint64_t>(std::ceil(static_cast<double>(most) / parts));
      const std::uint64_t block = parts > 1 ? generation : 0;
      const std::uint64_t full = parts > 1 ? size : search_examples;
      if (!rotating_race || size < least_raced) return {full, block, 0, 0};
      const std::uint64_t first = (size + 2) / 3;
      return {parts > 1 ? 3 * first : full, block, first, finish};
    }
    case Examples::all:
      break;
  }
  return {search_examples, 0, 0, 0};
}

EvoMergingPlan evo_merging_plan(const SearchProblem& problem, const EvoMergingParams& params,
                                const MergeGenes& genes, std::size_t slots) {
  const auto n = static_cast<double>(genes.size());
  EvoMergingPlan plan;
  Generations generations = params.preset == "paper"     ? paper(plan, n)
                            : params.preset == "lorahub" ? lorahub(plan, n)
                                                         : ours(plan, n, slots);
  if (params.start == "1/n") plan.weight = 1 / n;
  if (params.start == "1/sqrt(n)") plan.weight = 1 / std::sqrt(n);
  if (params.start == "zero") plan.weight = 0;
  const bool given = params.denoise_generations >= 0 || params.scale_generations >= 0 ||
                     params.polish_generations >= 0;
  set(generations.denoise, params.denoise_generations);
  set(generations.scale, params.scale_generations);
  set(generations.polish, params.polish_generations);
  set(plan.population, params.population);
  set(plan.alpha_start, params.alpha_start);
  set(plan.alpha_sigma, params.alpha_sigma);
  set(plan.beta_sigma, params.beta_sigma);
  set(plan.alpha_penalty, params.alpha_penalty);
  set(plan.beta_penalty, params.beta_penalty);
  set(plan.search_examples, params.search_examples);
  if (params.examples == "all") plan.examples = Examples::all;
  if (params.examples == "race") plan.examples = Examples::race;
  if (params.examples == "rotate") plan.examples = Examples::rotate;
  if (plan.examples == Examples::rotate) plan.first_examples = 20;
  set(plan.first_examples, params.first_examples);
  set(plan.single_examples, params.first_examples);
  const bool fewer = plan.first_examples > 0 &&
                     (plan.search_examples == 0 || plan.first_examples < plan.search_examples);
  if (!fewer) plan.examples = Examples::all;
  // It costs trials to save calls: not where trials are what is limited.
  plan.rotating_race = problem.trials == 0;
  // Those that count have to finish.
  plan.finish = std::clamp<std::size_t>(
      static_cast<std::size_t>(std::ceil(params.finish * static_cast<double>(plan.population))),
      plan.population / 2, plan.population);
  plan.finalists = static_cast<std::size_t>(params.finalists);
  plan.leave_one_out = static_cast<std::size_t>(params.leave_one_out);
  plan.controls = static_cast<std::size_t>(params.controls);
  plan.single_adapters = params.single_adapters;
  if (genes.alphas().empty()) generations.denoise = 0;

  const bool several = problem.objectives.size() > 1;
  const std::size_t directions = several ? static_cast<std::size_t>(params.directions) : 0;
  if (several) plan.front_generations = std::max<std::size_t>(1, generations.scale / 4);

  std::string order = params.order;
  if (order == "auto") {
    // One search of both needs a covariance that relates them, and steps that a ladder of alphas
    // does not hold up.
    order = params.preset != "default"                      ? "denoise_first"
            : plan.diagonal || !params.alpha_ladder.empty() ? "scale_first"
                                                            : "together";
  }
  const auto scale = static_cast<double>(generations.scale);
  const auto denoise = static_cast<double>(generations.denoise);
  std::vector<std::pair<What, double>> stages;
  if (denoise == 0 || scale == 0 || order == "denoise_first") {
    stages = {{What::alphas, denoise}, {What::betas, scale}};
  } else if (order == "scale_first") {
    stages = {{What::betas, scale * 4 / 7}, {What::alphas, denoise}, {What::betas, scale * 3 / 7}};
  } else {
    stages = {{What::both, denoise + scale}};
  }
  stages.emplace_back(What::polish, static_cast<double>(generations.polish));
  std::erase_if(stages, [](const auto& stage) { return stage.second == 0; });

  // Where examples rotate, early generations cost little and decide which optimum is found: several
  // searches begin, if they are not too short to tell, and the best goes on.
  constexpr double opening = 0.3;
  constexpr double shortest = 60;
  const bool several_starts = plan.examples == Examples::rotate && !stages.empty() &&
                              stages[0].first == What::both && params.starts < 0;
  auto starts =
      static_cast<std::size_t>(params.starts < 0 ? (several_starts ? 3 : 1) : params.starts);

  // Fit the generations to the budget; where nobody asked for a number of them, it says how many.
  double share = 1;
  if (problem.trials > 0 && !stages.empty()) {
    const auto last_cost = [&] {
      return plan.report_cost(genes.size(), directions) +
             plan.choice_cost() * (stages.size() + directions);
    };
    while (last_cost() > problem.trials / 4 && shrink(plan)) {
    }
    const std::size_t left = problem.trials > last_cost() ? problem.trials - last_cost() : 0;
    const auto share_of = [&](std::size_t begun) {
      const double others = static_cast<double>(begun - 1) * opening * stages[0].second;
      double total = others + static_cast<double>(directions * plan.front_generations);
      for (const auto& [what, count] : stages) total += count;
      const std::size_t compared = begun > 1 ? begun : 0;
      const double found = static_cast<double>(left - std::min(left, compared)) /
                           (static_cast<double>(plan.generation_cost()) * total);
      return given || params.preset != "default" ? std::min(found, 1.0) : found;
    };
    if (several_starts && share_of(starts) * stages[0].second < shortest) starts = 1;
    share = share_of(starts);
  } else if (several_starts && stages[0].second < shortest) {
    starts = 1;
  }
  const auto fitted = [&](double count) {
    return static_cast<std::size_t>(std::floor(share * count + 1e-9));
  };
  plan.front_generations = fitted(static_cast<double>(plan.front_generations));
  double begun = 0;
  std::size_t planned = 0;
  for (const auto& [what, count] : stages) {
    begun += count;
    const std::size_t until = fitted(begun);
    if (until > planned) plan.stages.push_back({what, until - planned});
    planned = until;
  }
  if (!plan.stages.empty()) {
    EvoMergingPlan::Stage& first = plan.stages[0];
    first.opening = static_cast<std::size_t>(opening * static_cast<double>(first.generations));
    if (first.opening > 0) first.starts = starts;
  }
  return plan;
}

}  // namespace paretod
