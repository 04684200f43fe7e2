#pragma once
// How an LCSC search spends its budget, and its last stage.  The search has seen its own winners'
// luck, so neither the choice nor the reported numbers may come from it: the choice is made on
// fresh replicates, the report on untouched ones, both paired.

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "optimizers/core/optimizer.hpp"
#include "optimizers/lcsc.hpp"
#include "optimizers/lcsc_archive.hpp"
#include "optimizers/lcsc_seeds.hpp"

namespace paretod {

struct LcscPlan {
  std::size_t anchors = 0;       ///< seeds measured on all replicates of the search
  std::uint64_t replicates = 1;  ///< most replicates of one point during the search
  std::uint64_t candidates = 0;  ///< best of the search that enter the selection
  std::uint64_t selection_replicates = 1;
  std::uint64_t report_replicates = 1;

  /// Upper bound of the trials that selection and report ask for.
  [[nodiscard]] std::uint64_t final_cost() const;
  /// One step towards a cheaper last stage; false when there is none.
  bool shrink();
};

/// What the parameters ask for, shrunk where it would take more than a tenth (anchors) or a
/// quarter (last stage) of the budget.
LcscPlan lcsc_plan(const LcscParams& params, std::uint64_t trials);
/// The least budget with which the search makes sense.
std::uint64_t lcsc_least_trials(std::size_t seeds);

/// Selection and report.  Entry i < seeds.all.size() of the archive is seed i; `extra` are points
/// that the search proposes without having measured them.  Uses what is left of the budget, less
/// than planned if need be.
Report lcsc_finish(const SearchProblem& problem, const LcscParams& params, LcscPlan plan,
                   const LcscSeeds& seeds, const LcscArchive& archive,
                   const std::vector<Point>& extra, std::string stop_reason,
                   Evaluations& evaluations);

}  // namespace paretod
