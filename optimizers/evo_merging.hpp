#pragma once
// Evo-Merging: which adapters of a pool to merge, how much of each to keep and with which weight,
// found by evaluating merges only (Chen, Zhou, Huai et al., arXiv 2509.12951; the authors' code as
// described in research/evo-merging.md).  Stages, each choosing among its best on examples that it
// never searched with (replicate 1):
//  1. denoise: alpha by CMA-ES, with betas that are given;
//  2. scale: beta by CMA-ES, with the alphas of stage 1;
//  3. polish, optional: both;
// or, by default below 50 adapters, one stage for both, that three searches begin and the best
// ends; then a report on further examples (replicate 2): the result beside base model, best single
// adapter and controls, and what leaving out each adapter changes (evo_merging_report.hpp).
//
// The space has real parameters alpha.NAME and beta.NAME (merge_genes.hpp).  Of each candidate,
// replicate selects the split of the data and fidelity how many of its first examples count.
// Several objectives: see evo_merging.cpp.

#include <cstdint>
#include <string>
#include <vector>

#include "optimizers/core/optimizer.hpp"

namespace paretod {

/// Minus one and "auto" stand for what the preset has.
struct EvoMergingParams {
  std::string preset = "default";
  std::string merge_space = "factor";
  std::string order = "auto";
  std::string start = "auto";
  bool negative = true;
  std::int64_t denoise_generations = -1;
  std::int64_t scale_generations = -1;
  std::int64_t polish_generations = -1;
  std::int64_t starts = -1;
  std::int64_t population = -1;
  double alpha_start = -1;
  double alpha_sigma = -1;
  double beta_sigma = -1;
  double alpha_penalty = -1;
  double beta_penalty = -1;
  std::vector<double> alpha_ladder = {};
  std::string examples = "auto";
  std::int64_t search_examples = -1;
  std::int64_t first_examples = -1;
  double finish = 0.6;
  std::int64_t select_examples = 0;
  std::int64_t report_examples = 0;
  std::int64_t finalists = 5;
  std::int64_t leave_one_out = 20;
  std::int64_t controls = 3;
  bool single_adapters = true;
  std::int64_t directions = 5;
};

template <>
Fields<EvoMergingParams> describe();

Optimizer evo_merging_optimizer();

}  // namespace paretod
