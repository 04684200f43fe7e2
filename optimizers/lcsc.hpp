#pragma once
// LCSC: evolutionary search over linear combinations of saved checkpoints (Liu et al., "Linear
// combination of saved checkpoints makes consistency and diffusion models better", arXiv
// 2404.02241).  The authors' search was never published; this is the steady-state search
// specified in research/lcsc.md, section 2b, with the departures named in lcsc.cpp.
//
// A job has one affine parameter (the coefficients) and one objective.  Three stages:
//  1. seeds: last, uniform, averages, EMAs (lcsc_seeds.hpp), on replicate 0; a few of them also
//     on the further replicates, which shows how replicates differ;
//  2. search, on replicate 0 first (common random numbers); leaders are re-scored on more;
//  3. selection among the best on fresh replicates, then the report on untouched ones: found,
//     best EMA, uniform and last, paired (lcsc_final.hpp).

#include <cstdint>
#include <string>

#include "optimizers/core/optimizer.hpp"

namespace paretod {

struct LcscParams {
  std::string search = "steady_state";
  std::int64_t elites = 5;
  double crossover_probability = 0.9;
  double crossover_bias = 0.6;
  double mutation_probability = 0;
  double initial_step = 0;
  std::int64_t rescored_elites = 3;
  std::int64_t replicates_per_elite = 10;
  bool deterministic = false;
  double norm_cap = 50;
  double ema_penalty = 0;
  std::int64_t population = 0;
  std::int64_t selection_candidates = 20;
  std::int64_t selection_replicates = 4;
  std::int64_t report_replicates = 10;
  std::int64_t fidelity = 0;
  std::int64_t report_fidelity = 0;
};

template <>
Fields<LcscParams> describe();

Optimizer lcsc_optimizer();

}  // namespace paretod
