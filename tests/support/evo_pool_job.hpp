#pragma once
// Jobs of evo_merging on planted pools, for tests and benches.

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "evaluators/builtin/evo_pool.hpp"
#include "optimizers/core/optimizer.hpp"

namespace paretod {

/// alpha.a0, alpha.a1, ..., then beta.a0, ...
inline SearchProblem merge_problem(std::size_t adapters, std::uint64_t trials, std::uint64_t seed,
                                   std::size_t objectives = 1) {
  std::vector<Parameter> parameters(2 * adapters);
  for (std::size_t i = 0; i < adapters; ++i) {
    parameters[i].name = "alpha.a" + std::to_string(i);
    parameters[adapters + i].name = "beta.a" + std::to_string(i);
    parameters[adapters + i].low = -1.5;
    parameters[adapters + i].high = 1.5;
  }
  SearchProblem problem{SearchSpace::make(std::move(parameters)).value(), {}, seed, trials};
  for (std::size_t k = 0; k < objectives; ++k) {
    problem.objectives.push_back({k == 0 ? "loss" : "loss_" + std::to_string(k + 1)});
  }
  return problem;
}

/// What a candidate of such a job is evaluated on.
struct Examples {
  std::size_t split, first, count;
};
inline Examples examples_of(const Candidate& candidate) {
  const std::size_t split = candidate.replicate % EvoPool::splits;
  const std::size_t size = EvoPool::split_sizes[split];
  if (candidate.fidelity == 0 || candidate.fidelity >= size) return {split, 0, size};
  const auto count = static_cast<std::size_t>(candidate.fidelity);
  return {split, candidate.replicate / EvoPool::splits * count % size, count};
}

/// Its outcome, with a loss per task and their values on single examples.
inline Outcome measure_merge(const EvoPool& pool, const Candidate& candidate, std::size_t tasks = 1,
                             bool factor_space = true) {
  const std::size_t n = pool.adapters();
  std::vector<MergeTerm> terms;
  for (std::size_t i = 0; i < n; ++i) {
    terms.push_back({candidate.point[i], candidate.point[n + i]});
  }
  const auto [split, first, count] = examples_of(candidate);
  Outcome outcome;
  for (std::size_t task = 0; task < tasks; ++task) {
    std::vector<float> losses(count);
    pool.losses(terms, factor_space, task, split, first, losses);
    double sum = 0;
    for (const float loss : losses) sum += static_cast<double>(loss);
    outcome.objectives.push_back({.value = sum / static_cast<double>(count), .count = count});
    outcome.examples.push_back(std::move(losses));
  }
  return outcome;
}

/// Share of the gap between base model and true model that a loss on the report split closes.
inline double gap_closed(const EvoPool& pool, double loss, std::size_t task = 0) {
  const double base = pool.base_loss(task, 2);
  return (base - loss) / (base - pool.true_loss(task, 2));
}

}  // namespace paretod
