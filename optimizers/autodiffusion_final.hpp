#pragma once
// The last stage of both modes of AutoDiffusion.  The search has seen its winners' luck, so at each
// cost the choice is made on fresh replicates, and the report on untouched ones: what was found
// beside uniform steps of no higher cost.

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "optimizers/autodiffusion.hpp"

namespace paretod {

struct AutoDiffusionPlan {
  std::uint64_t points = 1;      ///< costs at which something is chosen and reported
  std::uint64_t candidates = 1;  ///< that compete at each
  std::uint64_t selection_replicates = 0;
  std::uint64_t report_replicates = 0;

  /// Upper bound of the trials that selection and report ask for.
  [[nodiscard]] std::uint64_t cost() const;
  /// One step towards a cheaper last stage; false when there is none.
  bool shrink();
  /// Outcomes do not differ from replicate to replicate.
  void be_deterministic();
};

/// What the parameters ask for, shrunk where it would take more than a quarter of the budget.
AutoDiffusionPlan autodiffusion_plan(const SearchProblem& problem,
                                     const AutoDiffusionParams& params);

/// What the search leaves.
struct Finalist {
  Point point;
  double cost = 0;   ///< by the parameters, whatever the evaluator's objectives are
  double score = 0;  ///< the first objective, minimised, at the highest fidelity
};

/// Selection and report, with no more than what is left of the budget.  `fidelity` is the
/// highest of the search.
Report autodiffusion_finish(const SearchProblem& problem, const AutoDiffusionParams& params,
                            AutoDiffusionPlan plan, std::vector<Finalist> finalists,
                            std::uint64_t fidelity, std::string stop_reason,
                            Evaluations& evaluations);

}  // namespace paretod
