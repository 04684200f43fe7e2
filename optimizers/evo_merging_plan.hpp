#pragma once
// What a run of evo_merging does, from its preset, its parameters and its budget.

#include <cstddef>
#include <cstdint>
#include <vector>

#include "optimizers/core/optimizer.hpp"
#include "optimizers/evo_merging.hpp"
#include "optimizers/merge_genes.hpp"
#include "optimizers/merge_search.hpp"

namespace paretod {

struct EvoMergingPlan {
  /// `both` begins as the stages of each do; `polish` goes on where they ended.
  enum class What { alphas, betas, both, polish };
  struct Stage {
    What what;
    std::size_t generations;
    std::size_t starts = 1;   ///< searches that begin it, of which the best goes on
    std::size_t opening = 0;  ///< generations of each until then
  };
  std::vector<Stage> stages;
  std::size_t front_generations = 0;  ///< of each direction; several objectives only

  double weight = 0;  ///< of every adapter at the start
  std::size_t population = 20;
  double alpha_start = 1;
  double alpha_sigma = 0.05, beta_sigma = 0.05;
  double alpha_penalty = 0.05, beta_penalty = 0.05;
  enum class Examples { all, race, rotate } examples = Examples::all;
  std::uint64_t search_examples = 300, first_examples = 60;
  std::uint64_t single_examples = 60;  ///< that adapters alone are first compared on
  std::size_t finish = 12;
  /// rotate: the best `finish` of a generation alone get all of its block, the others a third.
  bool rotating_race = false;
  bool barrier = false, redraw = false, diagonal = false;
  bool rivals = false;  ///< base model and best single adapter may be the result

  std::size_t finalists = 5;
  std::size_t leave_one_out = 20, controls = 3;
  bool single_adapters = true;

  /// Trials of one generation, and of the generations of a stage, if all return.
  [[nodiscard]] std::size_t generation_cost() const;
  [[nodiscard]] std::size_t search_cost(const Stage& stage) const;
  /// Trials of one choice among finalists (where a stage began is known, but for the first), and of
  /// the report with the choices that it needs.
  [[nodiscard]] std::size_t choice_cost() const {
    return finalists + 1 + (examples == Examples::rotate);
  }
  [[nodiscard]] std::size_t report_cost(std::size_t adapters, std::size_t directions) const;
  /// What a generation of a stage of so many is scored on.
  [[nodiscard]] MergeExamples examples_of(std::size_t generation, std::size_t generations) const;
};

/// `slots`: evaluations at once.  Fits into problem.trials, if that is not 0.
EvoMergingPlan evo_merging_plan(const SearchProblem& problem, const EvoMergingParams& params,
                                const MergeGenes& genes, std::size_t slots);

}  // namespace paretod
