#pragma once
// AutoDiffusion: at which few time steps to sample a given diffusion model, and which layers to
// drop at each, searched without training (Li et al., "AutoDiffusion: training-free optimization of
// time steps and architectures for automated diffusion model acceleration", ICCV 2023, arXiv
// 2309.10438; research/autodiffusion.md).
//
// A job has exactly one parameter of type `schedule`; others may stand beside it.  The first
// objective is the quality.  Two modes:
//  - "front", the default: barrier-free, the whole trade-off of quality against cost at once
//    (autodiffusion_front.hpp);
//  - "paper": the two-stage evolution of the authors' code under a budget of kept layers
//    (autodiffusion_paper.hpp).
// Both end with a choice on fresh replicates and a report on untouched ones: what was found beside
// uniform steps, cost by cost (autodiffusion_final.hpp).

#include <cstdint>
#include <string>
#include <vector>

#include "optimizers/core/optimizer.hpp"
#include "optimizers/schedule_genome.hpp"

namespace paretod {

struct AutoDiffusionParams {
  std::string mode = "front";
  std::vector<double> layer_costs = {};
  double step_cost = 0;
  std::vector<double> choice_costs = {};
  double max_cost = 0;
  bool cost_front = true;
  std::string noise_schedule = "any";
  std::vector<double> alpha_bars = {};
  std::int64_t population = 0;
  std::int64_t fidelity = 0;
  std::vector<double> rungs = {};
  double kept_share = 1.0 / 3;
  std::int64_t elite_replicates = 3;
  double replicate_share = 0.15;
  std::int64_t selection_candidates = 4;
  std::int64_t selection_replicates = 4;
  std::int64_t report_points = 8;
  std::int64_t report_replicates = 5;
  std::int64_t report_fidelity = 0;
  std::int64_t rounds = 10;
  std::int64_t elites = 10;
  std::int64_t mutants = 25;
  std::int64_t crossovers = 10;
  double mutation_probability = 0.25;
  double max_prune = 0.1;
  double min_prune = 0;
};

template <>
Fields<AutoDiffusionParams> describe();

Optimizer autodiffusion_optimizer();

/// The schedule parameter of a space that check() accepts.
std::size_t schedule_index(const SearchSpace& space);
/// What the parameters say about costs, with defaults: a layer costs 1, a step without layers too.
ScheduleCosts schedule_costs(const Parameter& schedule, const AutoDiffusionParams& params);
/// Of the noise schedule, or those that it might be; maybe none.
std::vector<std::vector<double>> noise_schedules(const AutoDiffusionParams& params);

}  // namespace paretod
